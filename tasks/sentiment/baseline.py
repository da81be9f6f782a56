"""What a model without word order reaches: `python -m tasks.sentiment.baseline` prints its accuracy by style."""

from __future__ import annotations

from typing import Any

from tasks.sentiment.dataset import STYLES, load_split
from tasks.sentiment.tokens import tokenise


def bag_of_words() -> Any:
    """A logistic regression over which words occur, fitted to the training split."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train = load_split("train")
    words = CountVectorizer(tokenizer=tokenise, token_pattern=None, lowercase=False, binary=True)
    return make_pipeline(words, LogisticRegression(max_iter=1000)).fit(train.texts, train.labels)


def accuracy_by_style(model: Any, split: str = "test") -> dict[str, tuple[int, int]]:
    """Right answers and examples by style, and over all of them as `all`."""
    reviews = load_split(split)
    right = [int(a == b) for a, b in zip(model.predict(reviews.texts), reviews.labels, strict=True)]
    table = {"all": (sum(right), len(right))}
    for code, style in enumerate(STYLES):
        own = [hit for hit, found in zip(right, reviews.styles, strict=True) if found == code]
        table[style] = (sum(own), len(own))
    return table


def main() -> None:
    for style, (right, total) in accuracy_by_style(bag_of_words()).items():
        print(f"{style:<10} {right / total:.3f}  ({right} of {total})")


if __name__ == "__main__":
    main()
