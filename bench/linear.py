"""A linear model beside the tuned one, on the very rows of a night: `python -m bench.linear` after `make nightly USECASE=banking77`.

TF-IDF and a linear SVM learn from the night's training rows and answer its sealed rows, in two variants: words, and
words with character n-grams (the best of 18 variants on other rows).
"""

import sys

from pipelines.errors import UserError
from pipelines.evaluation.sealed import sealed
from pipelines.foundation.step import open_night
from pipelines.monitoring.status import read_status
from pipelines.settings import default_profile
from pipelines.tuning.finetune import choose

USECASE = "banking77"


def main() -> None:
    """Print a line a model."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    status = read_status(USECASE, default_profile())
    night = open_night(USECASE, default_profile(), status["night"])
    train, test = choose(night), sealed(night)
    both = (
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    print(f"{USECASE}, night {status['night']}: {len(train)} rows to learn from, {len(test)} sealed")
    for name, features in {"SVM, words": TfidfVectorizer(), "SVM, words and characters": make_union(*both)}.items():
        model = make_pipeline(features, LinearSVC()).fit([row["prompt"] for row in train], [row["label"] for row in train])
        print(f"{name:28}{model.score([row['prompt'] for row in test], [row['label'] for row in test]):.3f}")
    for side in ("champion", "candidate"):
        print(f"{side:28}{status['metrics']['accuracy'][side]:.3f}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"{error}")
