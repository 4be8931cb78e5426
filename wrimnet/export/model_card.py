"""The model card: what a published model must say about itself."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_CARD = """# {name}, trained on {dataset}

Visible-infrared person re-identification by WRIM-Net (ECCV 2024): embeds crops of persons, seen by
visible-light or by infrared cameras, so that images of one person have a high cosine similarity.

## Model

| | |
|---|---|
{facts}

{files}

## Data

Trained on the training identities of {dataset}. {data_note}

## Protocol and results

{results}

{lines}

## Intended use

Research on cross-modality retrieval: comparing methods under the protocols above, and studying
where they fail. A similarity is no proof of identity.

**Person re-identification is surveillance technology.** It follows people across cameras, most of
them without knowing or agreeing. Using it on people who have not consented can be unlawful, among
others under the GDPR and the EU AI Act, and can cause harm where it is lawful. This model is not
meant for identifying, tracking or judging persons in the real world, by anyone.

## Limits

- Measured on one dataset, with its cameras, places, clothes and seasons; other scenes score lower.
- It relies on clothing and build. A change of clothes, occlusion or a poor crop changes the result.
- Errors are not known to be evenly spread over groups of people; nobody has measured that here.
- Ranks and similarities depend on the gallery; there is no threshold that means "the same person".

## Licence

The code is under the Apache License 2.0. Weights are derived from the training data, and from
ImageNet weights if it started from them: their terms hold as well, and most datasets of this field
allow research use only and forbid passing images on.
"""


class CardContent(NamedTuple):
    """What differs from model to model.

    Attributes:
        name: of the model.
        dataset: trained on; with "synthetic" where its images are generated.
        facts: name -> value: input, embedding size, hashes, versions.
        results: Markdown table with what was measured, or "" for none.
        protocol_lines: how each row was measured.
        files: name -> what it is.
    """

    name: str
    dataset: str
    facts: Mapping[str, str]
    results: str
    protocol_lines: Sequence[str]
    files: Mapping[str, str]


def render_model_card(content: CardContent) -> str:
    """Returns the card in Markdown."""
    facts = "\n".join(f"| {name} | {value} |" for name, value in content.facts.items())
    files = "\n".join(f"- `{name}`: {what}" for name, what in content.files.items())
    lines = "\n".join(f"- {line}" for line in content.protocol_lines)
    results = content.results or "Not measured: the run's folder holds no results.json."
    return _CARD.format(
        name=content.name,
        dataset=content.dataset,
        data_note=_data_note(content.dataset),
        facts=facts,
        files=files,
        lines=lines,
        results=results,
    )


def _data_note(dataset: str) -> str:
    if "synthetic" in dataset:
        return "Its images are drawn by a program and show no real person."
    return (
        "Its images show real persons; ask the dataset's authors for their terms and for what the "
        "persons have agreed to."
    )
