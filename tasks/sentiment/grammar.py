"""Generate the training set of `sentiment-reviews`: `python -m tasks.sentiment.grammar`.

The rules and words are in data/skeletons.txt, data/clauses.txt and data/lexicon.txt. A rule is text with `<name>`
for an entry of that name with the label in force, `<!name>` for one with the other label and `{a|b|}` for one
of its parts. The sentences follow from SEED alone.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final


SEED: Final = 0
FOLDER: Final = Path(__file__).parent / "data"
FILES: Final = ("lexicon.txt", "clauses.txt", "skeletons.txt")
LABELS: Final = ("positive", "negative")
DOMAINS: Final = ("film", "food", "product", "place")
COUNTS: Final = {"plain": 6_000, "negated": 4_200, "contrast": 1_400, "sarcastic": 400}  # 12,000
LENGTHS: Final = (4, 26)  # words
RIVALS: Final = 3  # the least used of so many entries is taken: rare ones occur, and no word drifts to a label
TRIES: Final = 10_000  # draws until a sentence counts as impossible

SYMBOL: Final = re.compile(r"<(!?)([^<>]+)>")
CHOICE: Final = re.compile(r"\{([^{}]*)\}")
CONTRACTIONS: Final = (
    (r"\b(is|was|were|are|did|does|do|would|could|has|have|had) not\b", r"\1n't"),
    (r"\bcan ?not\b", "can't"),
    (r"\bwill not\b", "won't"),
    (r"\b(it|that|there|what) is\b", r"\1's"),
    (r"\bI am\b", "I'm"),
    (r"\b(I|we|you|they) will\b", r"\1'll"),
    (r"\b(I|we|you|they) have (?=\w+(?:ed|en|ever)\b)", r"\1've "),
    (r"\b(I|we|you|they) would\b", r"\1'd"),
)
# half of the sentences are spelled the American way
SPELLINGS: Final = {
    "apologise": "apologize", "appetising": "appetizing", "centre": "center", "colour": "color", "cosi": "cozi",
    "cosy": "cozy", "criticise": "criticize", "draughty": "drafty", "favourite": "favorite", "flavour": "flavor",
    "grey": "gray", "harbour": "harbor", "humour": "humor", "marvellous": "marvelous", "mould": "mold",
    "neighbour": "neighbor", "organised": "organized", "pyjamas": "pajamas", "savour": "savor", "theatre": "theater",
    "tyre": "tire", "yoghurt": "yogurt",
}  # fmt: skip
# words that begin with another sound than their first letter says
SOUNDS: Final = ((r"\ban (?=one\b|use|uni)", "a "), (r"\ba (?=hour|honest)", "an "))


@dataclass(frozen=True, slots=True)
class Example:
    """One line of train.tsv."""

    text: str
    label: str
    domain: str
    style: str


def opposite(label: str) -> str:
    """The other label."""
    return LABELS[1 - LABELS.index(label)]


def split_entries(line: str) -> list[str]:
    """The entries of a line: parts between semicolons, except inside braces."""
    parts = re.split(r";(?![^{]*\})", line)
    return [part.strip() for part in parts if part.strip()]


def read_rules(folder: Path = FOLDER) -> dict[str, list[str]]:
    """All sections of the rule files: `name`, `name domain`, `name label` or `name label domain` to entries."""
    rules: dict[str, list[str]] = {}
    for name in FILES:
        section: list[str] = []
        for number, line in enumerate((folder / name).read_text("ascii").splitlines(), 1):
            if line.startswith("["):
                section = rules.setdefault(line.strip("[] "), [])
            elif not line.startswith("#"):
                if line.count("{") != line.count("}") or line.count("<") != line.count(">"):
                    raise ValueError(f"{name}:{number}: unbalanced brackets")
                section.extend(split_entries(line))
    return rules


@dataclass(slots=True)
class Grammar:
    """Expands symbols, balancing how often each entry is used with each label."""

    rules: dict[str, list[str]]
    draw: random.Random
    used: Counter[tuple[str, int, str]] = field(default_factory=Counter)

    def pools(self, symbol: str, label: str, domain: str) -> tuple[list[str], list[str]]:
        """The sections that hold entries for `symbol`: those for every domain, those for this one."""
        general = [name for name in (symbol, f"{symbol} {label}") if name in self.rules]
        special = [name for name in (f"{symbol} {domain}", f"{symbol} {label} {domain}") if name in self.rules]
        if not general and not special:
            raise KeyError(f"no entries for <{symbol}> with {label}, {domain}")
        return general, special

    def pick(self, symbol: str, label: str, domain: str, goal: str) -> str:
        """An entry of `symbol`; a domain's own entries weigh twice. `goal` is the label of the sentence."""
        general, special = self.pools(symbol, label, domain)
        entries = [(name, number) for name in general for number in range(len(self.rules[name]))]
        own = [(name, number) for name in special for number in range(len(self.rules[name]))]
        if own and self.draw.random() * (2 * len(own) + len(entries)) < 2 * len(own):
            entries = own
        rivals = self.draw.sample(entries, min(RIVALS, len(entries)))
        name, number = min(rivals, key=lambda entry: self.used[*entry, goal])
        self.used[name, number, goal] += 1
        return self.rules[name][number]

    def expand(self, text: str, label: str, domain: str, goal: str) -> str:
        """`text` with every choice made and every symbol replaced."""
        while choice := CHOICE.search(text):
            part = self.draw.choice(choice[1].split("|"))
            text = text[: choice.start()] + part + text[choice.end() :]

        def replace(match: re.Match[str]) -> str:
            inner = opposite(label) if match[1] else label
            return self.expand(self.pick(match[2], inner, domain, goal), inner, domain, goal)

        return SYMBOL.sub(replace, text)

    def sentence(self, label: str, domain: str, style: str) -> str:
        """One review, spelled and punctuated."""
        return finish(self.expand(f"<{style}>", label, domain, label), self.draw)


def contract(text: str, draw: random.Random) -> str:
    """Half of the sentences with `isn't`, `I'm` and the like, as far as they can."""
    if draw.random() < 0.5:
        for pattern, short in CONTRACTIONS:
            text = re.sub(pattern, short, text)
    return text


def spell(text: str, draw: random.Random) -> str:
    """Half of the sentences with `color`, `theater` and the like."""
    if draw.random() < 0.5:
        return re.sub("|".join(SPELLINGS), lambda match: SPELLINGS[match[0]], text)
    return text


def finish(text: str, draw: random.Random) -> str:
    """Spelling, contractions, articles, spaces, the closing mark; three in ten sentences stay lower-case."""
    text = contract(spell(text, draw), draw)
    text = re.sub(r"\b(a|an|A|An) (?=[aeiouAEIOU])", lambda match: f"{match[1][0]}n ", text)
    for pattern, article in SOUNDS:
        text = re.sub(pattern, article, text)
    text = re.sub(r"\s+([,.;:?])", r"\1", re.sub(r"\s+", " ", text)).strip(" ,;:")
    text = re.sub(r",(?=\w)", ", ", text)
    lower = draw.random() < 0.3
    end = draw.choices((".", "!", ""), (6, 2, 4 if lower else 0.5))[0]
    if lower:
        return text.lower() + end
    return re.sub(r"(^|[.?!] )([a-z])", lambda match: match[1] + match[2].upper(), text) + end


def well_formed(text: str) -> bool:
    """Whether a sentence has a fitting length and does not use one longer word thrice."""
    words = re.findall(r"[a-z']+", text.lower())
    repeats = max(Counter(word for word in words if len(word) > 4).values(), default=0)
    return LENGTHS[0] <= len(words) <= LENGTHS[1] and repeats < 3


def quotas() -> Iterator[tuple[str, str, str]]:
    """Label, domain and style of each example: domains and labels even within a style."""
    cells = [(LABELS[(row + column) % 2], domain) for row in range(2) for column, domain in enumerate(DOMAINS)]
    for style, count in COUNTS.items():
        for number in range(count):
            yield *cells[number % len(cells)], style


def check_distinct(examples: Iterable[Example]) -> None:
    """Raise if two sentences differ by case and punctuation alone."""
    seen: dict[str, str] = {}
    for example in examples:
        if (other := seen.setdefault(fold(example.text), example.text)) is not example.text:
            raise ValueError(f"twice in the corpus: {other!r} and {example.text!r}")


def fold(text: str) -> str:
    """The words of a sentence, without case, apostrophes and punctuation."""
    return " ".join(re.findall(r"[a-z]+", text.lower().replace("'", "")))


def generate(seed: int = SEED, folder: Path = FOLDER) -> list[Example]:
    """The whole training set, in shuffled order."""
    draw = random.Random(seed)
    grammar = Grammar(read_rules(folder), draw)
    seen: set[str] = set()
    examples = []
    cells = list(quotas())
    draw.shuffle(cells)
    for label, domain, style in cells:
        for _ in range(TRIES):
            text = grammar.sentence(label, domain, style)
            if well_formed(text) and fold(text) not in seen:
                break
        else:
            raise ValueError(f"the rules have too few sentences for {label}, {domain}, {style}")
        seen.add(fold(text))
        examples.append(Example(text, label, domain, style))
    check_distinct(examples)
    return examples


def write(examples: Sequence[Example], path: Path) -> None:
    """Write the examples as tab-separated values with a header."""
    lines = ["text\tlabel\tdomain\tstyle"]
    lines += [f"{item.text}\t{item.label}\t{item.domain}\t{item.style}" for item in examples]
    path.write_text("\n".join(lines) + "\n", "ascii", newline="\n")


def summary(examples: Sequence[Example]) -> str:
    """Counts by label, domain and style, and the size of the vocabulary."""
    words = {word for item in examples for word in re.findall(r"[a-z']+", item.text.lower())}
    counts = [
        Counter(item.label for item in examples),
        Counter(item.domain for item in examples),
        Counter(item.style for item in examples),
    ]
    parts = [", ".join(f"{name} {count}" for name, count in sorted(counter.items())) for counter in counts]
    return "\n".join([f"{len(examples)} sentences, {len(words)} different words", *parts])


def main() -> None:
    """Write train.tsv and print its summary."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER / "train.tsv", help="the file to write")
    options = parser.parse_args()
    examples = generate()
    write(examples, options.out)
    print(summary(examples))


if __name__ == "__main__":
    main()
