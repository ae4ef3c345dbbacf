"""The 57 subjects of MMLU by category, as in `categories.py` of its authors (arXiv 2009.03300).

lm-evaluation-harness counts anatomy as STEM; here it is a health subject, as the authors have it.
"""

from collections.abc import Iterable, Mapping

_STEM = """
abstract algebra, astronomy, college biology, college chemistry, college computer science, college
mathematics, college physics, computer security, conceptual physics, electrical engineering,
elementary mathematics, high school biology, high school chemistry, high school computer science,
high school mathematics, high school physics, high school statistics, machine learning
"""
_HUMANITIES = """
formal logic, high school european history, high school us history, high school world history,
international law, jurisprudence, logical fallacies, moral disputes, moral scenarios, philosophy,
prehistory, professional law, world religions
"""
_SOCIAL_SCIENCES = """
econometrics, high school geography, high school government and politics, high school
macroeconomics, high school microeconomics, high school psychology, human sexuality, professional
psychology, public relations, security studies, sociology, us foreign policy
"""
_OTHER = """
anatomy, business ethics, clinical knowledge, college medicine, global facts, human aging,
management, marketing, medical genetics, miscellaneous, nutrition, professional accounting,
professional medicine, virology
"""

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    name: tuple(" ".join(subject.split()) for subject in subjects.split(","))
    for name, subjects in (
        ("STEM", _STEM),
        ("humanities", _HUMANITIES),
        ("social sciences", _SOCIAL_SCIENCES),
        ("other", _OTHER),
    )
}


def by_category(subjects: Iterable[str]) -> dict[str, list[str]]:
    """Return subjects by category; empty if one of them is not a subject of MMLU.

    Subjects may be written with spaces or, as in MMLU's files, with "_".
    """
    category_of = {subject: category for category, every in CATEGORIES.items() for subject in every}
    groups: dict[str, list[str]] = {}
    for subject in subjects:
        category = category_of.get(subject.replace("_", " "))
        if category is None:
            return {}
        groups.setdefault(category, []).append(subject)
    return {category: groups[category] for category in CATEGORIES if category in groups}
