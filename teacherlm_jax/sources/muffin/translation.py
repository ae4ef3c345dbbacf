"""Translation between English and another language, five prompts each way."""

from teacherlm_jax.sources.muffin.dataset import DataSet, Text, prompts


def _pair(name: str, builder: str, code: str, language: str) -> DataSet:
    return DataSet(
        name=name,
        builders=(builder,),
        prompts=prompts(
            Text(code),
            "{english}\n\nSay this in {language}.",
            "Translate the English sentence into {language}: {english}",
            'What is the {language} for "{english}"?',
            "English: {english}\n{language}:",
            "A {language} newspaper quotes this. How would it appear in {language}? {english}",
        )
        + prompts(
            Text("en"),
            "{foreign}\n\nSay this in English.",
            "Translate the {language} sentence into English: {foreign}",
            'What does the {language} text "{foreign}" mean in English?',
            "{language}: {foreign}\nEnglish:",
            "An English speaker does not understand this {language} text. Translate it. {foreign}",
        ),
        slots={"english": "en", "foreign": code},
        words={"language": language},
        large=True,
    )


SETS = (
    _pair("para_crawl_enes", "para_crawl/enes/1.2.0", "es", "Spanish"),
    _pair("wmt14_fren", "wmt14_translate/fr-en/1.0.0", "fr", "French"),
    _pair("wmt16_csen", "wmt16_translate/cs-en/1.0.0", "cs", "Czech"),
    _pair("wmt16_deen", "wmt16_translate/de-en/1.0.0", "de", "German"),
    _pair("wmt16_fien", "wmt16_translate/fi-en/1.0.0", "fi", "Finnish"),
    _pair("wmt16_roen", "wmt16_translate/ro-en/1.0.0", "ro", "Romanian"),
    _pair("wmt16_ruen", "wmt16_translate/ru-en/1.0.0", "ru", "Russian"),
    _pair("wmt16_tren", "wmt16_translate/tr-en/1.0.0", "tr", "Turkish"),
)
