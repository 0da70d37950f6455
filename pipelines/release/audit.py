"""The ledger, checked and shown: `python -m pipelines ledger verify | show [--usecase NAME]`."""

from pipelines.errors import UserError
from pipelines.foundation import ledger, moves, registry
from pipelines.foundation.step import open_night
from pipelines.settings import usecases

LONGEST = 160  # letters of an entry on its line


def verify(usecase: str, profile: str) -> list[dict]:
    """One line a use case: entries, head, champion; raises UserError where an entry, an anchor or an alias was changed.

    A chain cannot tell that its last entries were cut off: each moved version carries its entry's number and hash as a
    tag in the registry, and must find them in the chain.
    """
    return [_verify(name, profile) for name in ([usecase] if usecase else usecases())]


def show(usecase: str, profile: str, night: str) -> list[dict]:
    """The entries, oldest first, of one night where one is named."""
    found = []
    for name in [usecase] if usecase else usecases():
        chain = ledger.entries(open_night(name, profile, night or moves.ALWAYS).lake)
        found += [{"usecase": name} | entry._asdict() for entry in chain if not night or entry.night == night]
    return found


def render(entries: list[dict]) -> str:
    """A line an entry: number, time, use case, night, kind and what matters most of its body."""
    lines: list[str] = []
    for entry in entries:
        about = f"{entry['seq']:>5}  {entry['at'][:19]}  {entry['usecase']}  {entry['night']}  {entry['kind']:<10}"
        lines.append(f"{about}  {_told(entry['kind'], entry['body'])}")
    return "\n".join(lines) or "the ledger is empty"


def _told(kind: str, body: dict) -> str:
    """What an entry says, in a few words."""
    version = f"version {body['version']}" if body.get("version") else "the base model"
    told = {
        "look": f"{body.get('items')} sealed rows, candidate {body.get('candidate')}",
        "verdict": f"{body.get('verdict')}: {body.get('reason')}",
        "admission": f"{body.get('name')} {'admitted' if body.get('admitted') else 'refused'}: {body.get('why')}",
        "suspension": f"{body.get('name')}: {body.get('why')}",
        "approval": f"{body.get('approver') or 'nobody'}: {body.get('why')}" + (f" ({body['reason']})" if body.get("reason") else ""),
        "staging": version if body.get("version") else f"version {body.get('dropped')} dropped",
        "promotion": version,
        "rollback": f"{version}, by {body.get('by') or 'nobody named'}: {body.get('why')}",
        "erasure": f"{len(body.get('models', ()))} models barred, nights {', '.join(body.get('nights', ()))}",
        "erased": f"{sum((body.get('removed') or {}).values())} rows removed; certificate {str(body.get('certificate'))[:12]}",
        "hold": f"by {body.get('by') or 'nobody named'}: {body.get('why')}",
        "release": f"by {body.get('by') or 'nobody named'}: {body.get('why')}",
        "served": f"{version}: {'yes' if body.get('served') else 'not yet'}",
    }
    return told.get(kind, "")[:LONGEST]


def _verify(name: str, profile: str) -> dict:
    night = open_night(name, profile, moves.ALWAYS)
    chain = ledger.entries(night.lake)
    known = {f"{entry.seq}:{entry.hash}" for entry in chain}
    client = registry.client(night)
    versions = client.search_model_versions(f"name = '{name}'")
    for version in versions:
        anchor = version.tags.get(registry.ENTRY_TAG)
        if anchor and anchor not in known:
            raise UserError(
                f"the ledger of {name} was changed: version {version.version} of the registry was moved by entry "
                f"{anchor.partition(':')[0]}, which is not there as it was written"
            )
    champion = moves.champion_version(chain)
    alias = client.get_registered_model(name).aliases.get("champion") if versions else None
    if (alias and str(alias)) != champion:
        raise UserError(
            f"the alias champion of {name} is {alias or 'not set'}, but the ledger says {champion or 'the base model'}: it was moved "
            f"past the ledger; `python -m pipelines rollback --usecase {name} --to {champion or registry.BASE} --why TEXT` sets it right"
        )
    return {"usecase": name, "entries": len(chain), "head": chain[-1].hash if chain else ledger.GENESIS, "champion_version": champion}
