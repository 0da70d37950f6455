"""The ground floor: tables, memo, ledger, records, and the one door to any model."""
