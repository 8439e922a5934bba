"""Whether a claim says the opposite of a sentence: denials with what they deny, opposite words, words with un- and in-."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache

from rag.words import Words, stemmed

# Each denies what follows it, or in some languages what stands before it.
_DENIALS = {
    "en": "not no never none nobody nothing nowhere neither nor without cannot fail fails failed failing lack lacks "
    "lacked lacking refuse refuses refused refusing unable hardly scarcely barely rarely seldom ceased ceases cease "
    "stopped stops nor declined declines neglected neglects",
    "de": "nicht kein keine keinen keinem keiner keines nie niemals ohne weder niemand nichts kaum keinesfalls "
    "keineswegs nirgends",
    "fr": "pas jamais aucun aucune sans ni rien nul nulle",
    "es": "no nunca sin ningún ninguna ninguno jamás tampoco nada nadie ni",
    "it": "non mai senza nessun nessuna nessuno né niente nulla",
    "nl": "niet geen nooit zonder niemand niets noch",
    "pt": "não nunca sem nenhum nenhuma jamais nem nada ninguém",
    "sv": "inte ingen inget inga aldrig utan icke",
    "ru": "не нет без ни никогда никто ничего нельзя",
}
_PHRASES = {
    "en": ("no longer", "by no means", "far from", "anything but", "no more"),
    "fr": ("ne plus", "n plus"),
}
# Words that may stand behind a denial of the same in other words: enough to support one, not to see one.
_MILD = {
    "en": "instead rather unlike except excluding excluded excludes exclude exclusive avoid avoids avoiding avoided "
    "prevent prevents prevented preventing deny denied denies reject rejected rejects prohibited prohibits prohibit "
    "forbid forbids forbidden banned absence absent free impossible against only but little few limited limits "
    "remove removes removed removing disabled before until despite although however difficult wrong false minimal "
    "less lose loses lost missing non un limitation limitations unlikely independent regardless alone opposed "
    "contrast outside zero ignore ignores eliminate eliminates eliminating reduce prior except beyond end ended "
    "oppose opposed unless irrespective minus drop drops dropped omit omitted exempt invalid void",
    "de": "statt anstatt außer ausgenommen verboten untersagt unmöglich nur aber vermeiden verhindern frei außerhalb",
    "fr": "sauf hormis interdit interdite impossible seulement mais éviter empêcher hors exclu exclue exclus",
}
_SIGNS_THAT_DENY = frozenset("不没沒未非无無别別勿")
_ENDS_OF_DENIAL_JA = ("ない", "ませ", "なか", "ずに", "않", "없", "못")

_OPPOSITES = """
increase:decrease increase:reduce increase:decline increase:fall increase:drop increase:lower rise:fall rise:drop
rise:decline grow:shrink expand:contract expand:shrink raise:lower raise:reduce enlarge:reduce gain:lose gain:loss
before:after precede:follow earlier:later early:late first:last begin:end start:end start:finish start:stop
open:close more:less more:fewer most:least most:fewest high:low higher:lower highest:lowest large:small larger:smaller
largest:smallest big:small bigger:smaller long:short longer:shorter longest:shortest fast:slow faster:slower
fastest:slowest strong:weak stronger:weaker strengthen:weaken maximum:minimum maximal:minimal maximize:minimize
major:minor majority:minority improve:worsen improve:degrade better:worse best:worst allow:prevent allow:forbid
allow:prohibit permit:prohibit permit:forbid enable:prevent enable:disable include:exclude accept:reject accept:refuse
approve:reject approve:disapprove agree:disagree support:oppose able:unable always:never all:none everyone:nobody
everything:nothing everywhere:nowhere possible:impossible win:lose won:lost success:failure succeed:fail pass:fail
north:south east:west northern:southern eastern:western left:right above:below over:under inside:outside
internal:external inner:outer interior:exterior upper:lower up:down top:bottom upstream:downstream
hot:cold warm:cool hotter:colder warmer:cooler heat:cool wet:dry full:empty heavy:light heavier:lighter hard:soft
thick:thin wide:narrow deep:shallow near:far nearer:farther close:distant rich:poor old:new older:newer older:younger
young:old same:different similar:different identical:different equal:unequal public:private
optional:mandatory optional:required voluntary:compulsory voluntary:mandatory free:paid active:passive on:off
enter:leave arrive:depart arrive:leave import:export buy:sell bought:sold lend:borrow push:pull attack:defend
create:destroy build:destroy add:remove insert:remove attach:detach connect:disconnect appear:disappear
present:absent presence:absence true:false right:wrong correct:incorrect legal:illegal valid:invalid safe:unsafe
simple:complex easy:difficult easier:harder easy:hard easily:difficult cheap:expensive cheaper:dearer positive:negative
dynamic:static absolute:relative direct:indirect temporary:permanent finite:infinite conscious:unconscious
friend:enemy ally:enemy love:hate peace:war victory:defeat day:night morning:evening summer:winter father:mother
male:female man:woman men:women king:queen husband:wife brother:sister son:daughter parent:child
encourage:discourage advantage:disadvantage like:dislike trust:distrust obey:disobey lawful:unlawful often:rarely
frequent:rare frequently:rarely common:rare many:few must:may must:need oldest:newest oldest:youngest earliest:latest
ascend:descend accelerate:decelerate credit:debit profit:loss surplus:deficit supply:demand attach:remove
deny:confirm confirm:refute prove:disprove hire:dismiss hire:fire lock:unlock visible:invisible known:unknown
vor:nach mehr:weniger größer:kleiner höher:niedriger immer:nie alle:keine erlaubt:verboten mit:ohne steigen:sinken
steigt:sinkt gestiegen:gesunken zunehmen:abnehmen früher:später lang:kurz länger:kürzer hoch:niedrig groß:klein
offen:geschlossen öffnen:schließen mindestens:höchstens vorher:nachher innen:außen oben:unten links:rechts
avant:après plus:moins toujours:jamais avec:sans augmenter:diminuer augmente:diminue augmenté:diminué
supérieur:inférieur ouvert:fermé premier:dernier autorisé:interdit obligatoire:facultatif minimum:maximum
with:without least:most heaviest:lightest hottest:coldest deepest:shallowest nearest:farthest within:beyond
subsequent:prior afterwards:beforehand sooner:later
"""
_PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "de", "mis", "anti")
_PARTLY = frozenset("all every always necessarily everyone just merely".split())
_REACH = 4  # how many telling words behind a denial it can deny


@lru_cache(maxsize=16)
def _opposites(language: str) -> dict[str, frozenset[str]]:
    """Opposites by stem: a word's other forms have the same."""
    found: dict[str, set[str]] = {}
    for pair in _OPPOSITES.split():
        a, b = (stemmed(word, language) for word in pair.split(":"))
        if a != b:
            found.setdefault(a, set()).add(b)
            found.setdefault(b, set()).add(a)
    return {word: frozenset(others) for word, others in found.items()}


@dataclass(frozen=True, slots=True)
class Denial:
    """A denial in a sentence: the stems behind it and those before it, nearest first. A mild one only may deny."""

    word: str
    behind: tuple[str, ...]
    before: tuple[str, ...]
    mild: bool


@lru_cache(maxsize=8)
def _denying(language: str) -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
    name = language if language in _DENIALS else "en"
    return frozenset(_DENIALS[name].split()), frozenset(_MILD.get(name, "").split()), _PHRASES.get(name, ())


@lru_cache(maxsize=16384)
def denials(said: Words, language: str) -> tuple[Denial, ...]:
    """The denials among a sentence's words, the mild ones as well."""
    denying, mild, phrases = _denying(language)
    found = []
    folded = said.folded
    for at, word in enumerate(folded):
        following = folded[at + 1] if at + 1 < len(folded) else ""
        strong = f"{word} {following}" in phrases or word in denying or _denies_in_signs(word)
        if not strong and word not in mild:
            continue
        if following == "only" or (word == "no" and following[:1].isdigit()):
            continue
        behind = [stem for stem in said.stems[at + 1 :] if stem][:_REACH]
        before = [stem for stem in reversed(said.stems[:at]) if stem][:2]
        partly = word == "not" and following in _PARTLY
        found.append(Denial(word, tuple(behind), tuple(before), not strong or partly))
    return tuple(found)


def _denies_in_signs(word: str) -> bool:
    return word[0] > "\u2fff" and (any(sign in _SIGNS_THAT_DENY for sign in word) or word.startswith(_ENDS_OF_DENIAL_JA))


def contradicts(claim: Words, evidence: list[Words], language: str) -> str:
    """The word by which a claim says the opposite of the sentences that support it best; "" where none does."""
    return (
        _denies_what_they_say(claim, evidence, language)
        or _says_what_they_deny(claim, evidence, language)
        or _says_the_opposite(claim, evidence, language)
    )


def _denies_what_they_say(claim: Words, evidence: list[Words], language: str) -> str:
    """A denial of the claim's that has no counterpart where its words stand in the evidence."""
    for denial in denials(claim, language):
        if not denial.mild and not any(_denied_there(denial, part, language) for part in evidence):
            return denial.word
    return ""


def _denied_there(denial: Denial, part: Words, language: str) -> bool:
    """Whether a sentence denies, in whatever words, what a denial denies."""
    head = set(denial.behind[:3])
    for other in denials(part, language):
        if head & set(other.behind[:3] if other.mild else (*other.behind, *other.before[:1])):
            return True
        if set(denial.before[:1]) & set(other.before[:1]) and not other.mild:
            return True
    return any(_negated(stem, head, language) for stem in part.weights)


def _negated(stem: str, anchors: AbstractSet[str], language: str) -> bool:
    """Whether a stem is one of the anchors with un-, in-, dis-, or their opposite."""
    return any(stem == prefix + anchor for anchor in anchors for prefix in _PREFIXES if len(anchor) > 2) or bool(
        _opposites(language).get(stem, frozenset()) & anchors
    )


def _says_what_they_deny(claim: Words, evidence: list[Words], language: str) -> str:
    """A denial in the evidence whose words the claim has without one."""
    mine = denials(claim, language)
    for at, part in enumerate(evidence):
        for denial in denials(part, language):
            head = denial.behind[:2]
            if denial.mild or not head or not all(stem in claim.weights for stem in head):
                continue
            if any(set(head) & {*own.behind, *own.before} for own in mine):
                continue
            if any(_negated(stem, set(head), language) for stem in claim.weights):
                continue
            if any(_affirmed(head, other, language) for place, other in enumerate(evidence) if place != at):
                continue
            return denial.word
    return ""


def _affirmed(head: tuple[str, ...], part: Words, language: str) -> bool:
    return all(stem in part.weights for stem in head) and all(one.mild for one in denials(part, language))


def _says_the_opposite(claim: Words, evidence: list[Words], language: str) -> str:
    """A word of the claim's whose opposite the evidence has, and not the word itself."""
    if any(not denial.mild for part in (claim, *evidence) for denial in denials(part, language)):
        return ""
    own = _forms(claim, language)
    nearest = _forms(evidence[0], language).keys()
    stems = {stem for part in evidence for stem in _forms(part, language)}
    for stem, word in own.items():
        others = _contraries(stem, stems, language)
        if not others or others & own.keys():
            continue
        if stem not in stems or (stem not in nearest and others & nearest):
            return word
    return ""


def _forms(said: Words, language: str) -> dict[str, str]:
    return {stemmed(word, language): word for word in said.folded if word.isalpha()}


def _contraries(stem: str, there: AbstractSet[str], language: str) -> AbstractSet[str]:
    """The words there that are the opposite of one, by meaning or by a prefix."""
    found = set(_opposites(language).get(stem, frozenset()) & there)
    for prefix in _PREFIXES:
        if len(stem) > 3 and prefix + stem in there:
            found.add(prefix + stem)
        if stem.startswith(prefix) and len(stem) - len(prefix) > 3 and stem[len(prefix) :] in there:
            found.add(stem[len(prefix) :])
    return found
