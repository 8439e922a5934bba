"""The words that full-text search compares: languages told apart, stems, scripts without blanks, names of programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.stop_words import STOP_WORDS
from rag.words import language_of, query_terms, terms

SENTENCES = {
    "en": "The warranty covers the battery for two years, and it is void if the case was opened.",
    "de": "Die Garantie gilt zwei Jahre und sie erlischt, wenn das Gehäuse von einem Laien geöffnet wurde.",
    "fr": "La garantie couvre la batterie pendant deux ans, mais elle est perdue si le boîtier a été ouvert.",
    "es": "La garantía cubre la batería durante dos años, pero se pierde si la carcasa ha sido abierta.",
    "it": "La garanzia copre la batteria per due anni, ma non è valida se la custodia è stata aperta.",
    "nl": "De garantie dekt de batterij voor twee jaar, maar het is niet geldig als de kast open is geweest.",
    "ru": "Гарантия на батарею действует два года, но она не действует, если корпус был открыт.",
    "zh": "电池的保修期为两年，但如果外壳被打开，则保修无效。",
    "ja": "バッテリーの保証期間は二年ですが、ケースを開けると無効になります。",
    "ko": "배터리 보증 기간은 2년이지만 케이스를 열면 무효가 됩니다.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_a_language_is_told_by_its_stop_words_or_its_script(language: str) -> None:
    assert language_of(SENTENCES[language]) == language


@pytest.mark.parametrize("text", ["", "4711 0815", "int main(void) { return 0; }", "Brisa 4;Kestrel 9;Sparrow 2"])
def test_what_is_no_running_text_has_no_language(text: str) -> None:
    assert language_of(text) == ""


@pytest.mark.parametrize(
    ("language", "asked", "written"),
    [
        ("en", "How are batteries charged?", "charging the battery"),
        ("de", "Wo stehen die Häuser?", "das Haus"),
        ("de", "Haeuser und Hauser", "Hauser"),
        ("fr", "le prix des abonnements a l'annee", "abonnement à l'année"),
        ("ru", "какие гарантии", "гарантия"),
        ("zh", "保修期多长", "电池的保修期为两年"),
        ("ja", "保証期間は", "バッテリーの保証期間"),
        ("", "get_user_name", "getUserName()"),
        ("", "http server", "class HTTPServer:"),
        ("en", "straße", "STRASSE"),
    ],
)
def test_a_question_meets_the_words_of_a_document(language: str, asked: str, written: str) -> None:
    assert set(query_terms(asked, [language]).split()) & set(terms(written, language).split())


def test_stop_words_go_unless_there_is_nothing_else() -> None:
    assert terms("This is the battery.", "en") == "batteri"
    assert terms("This is it.", "en") == "this is it"
    assert query_terms("Who was that?", ["en"]) == "who was that"


def test_one_languages_stop_word_is_anothers_word() -> None:
    assert "die" in query_terms("Why do the plants in my garden die?", ["de", "en"]).split()
    assert "die" not in query_terms("Wann ist die Messe in der Stadt?", ["en", "de"]).split()


@given(st.text(max_size=200), st.sampled_from(["", *STOP_WORDS]))
def test_a_passage_is_found_by_its_own_words(text: str, language: str) -> None:
    written, asked = terms(text, language).split(), query_terms(text, [language]).split()
    assert bool(written) == bool(asked)
    assert set(asked) & set(written) or not written
    assert bool(written) or not any(character.isalnum() for character in text)
