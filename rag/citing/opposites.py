"""The words that deny, and the words that are each other's opposites, in the languages that the check knows."""

from collections.abc import Set as AbstractSet
from functools import lru_cache

from rag.citing.wording import stemmed

# Each denies what follows it, or in some languages what stands before it.
DENIALS = {
    "en": "not no never none nobody nothing nowhere neither nor without cannot fail fails failed failing lack lacks "
    "lacked lacking refuse refuses refused refusing unable hardly scarcely barely rarely seldom neglected "
    "neglects",
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
PHRASES = {
    "en": ("no longer", "by no means", "far from", "anything but", "no more"),
    "fr": ("ne plus", "n plus"),
}
# Words that may say the same as a denial: enough to support one, not to see one.
MILD = {
    "en": "instead rather unlike except excluding excluded excludes exclude exclusive avoid avoids avoiding avoided "
    "prevent prevents prevented preventing deny denied denies denying reject rejected rejects rejecting "
    "prohibited prohibits prohibit forbid forbids forbidden banned bans ban absence absent impossible removes "
    "removed remove removing disabled disables disable wrong false incorrect lose loses lost missing independent "
    "independently regardless ignore ignores ignored eliminate eliminates eliminated eliminating oppose opposed "
    "opposes unless minus omitted omit exempt invalid void waived waives closed cancelled canceled revoked "
    "suspended stopped cease ceases ceased free few little less only difficult hard worsen worsens "
    "worsened least fewer fewest worse worst unusual unlikely uncommon",
    "de": "statt anstatt außer ausgenommen verboten untersagt unmöglich nur vermeiden verhindern verhindert frei",
    "fr": "sauf hormis interdit interdite interdits interdites impossible seulement éviter empêcher hors exclu exclue "
    "exclus",
}
# Of these, words that a claim must not bring in by itself, as it must not a denial.
BROUGHT_IN = frozenset(
    "least fewer fewest worse worst unusual unlikely uncommon prevent prevents prevented preventing deny denied "
    "denies reject rejected rejects prohibited prohibits prohibit forbid forbids forbidden banned bans impossible "
    "disabled disables disable excludes excluded exclude lost loses worsen worsens worsened avoid avoids avoided "
    "stopped ceased ceases ignores ignored false verboten untersagt unmöglich verhindert interdit interdite".split()
)
NARROW = frozenset("free few little less only difficult hard nur seulement frei".split())  # they reach one word far
SIGNS = frozenset("不没沒未非无無别別勿")
ENDINGS = ("ない", "ませ", "なか", "ずに", "않", "없", "못")

_OPPOSITES = """
increase:decrease increase:reduce increase:decline increase:fall increase:drop increase:lower rise:fall rise:drop
rise:decline grow:shrink expand:contract expand:shrink raise:lower raise:reduce enlarge:reduce gain:lose gain:loss
before:after precede:follow earlier:later early:late first:last start:stop open:close more:less more:fewer most:least
most:fewest high:low higher:lower highest:lowest large:small larger:smaller largest:smallest big:small bigger:smaller
long:short longer:shorter longest:shortest fast:slow faster:slower fastest:slowest strong:weak stronger:weaker
strengthen:weaken maximum:minimum maximal:minimal maximize:minimize major:minor majority:minority improve:worsen
improve:degrade better:worse best:worst allow:prevent allow:forbid allow:prohibit permit:prohibit permit:forbid
enable:prevent enable:disable include:exclude accept:reject accept:refuse approve:reject approve:disapprove
agree:disagree support:oppose able:unable always:never all:none everyone:nobody everything:nothing everywhere:nowhere
possible:impossible win:lose won:lost success:failure succeed:fail pass:fail above:below inside:outside
internal:external inner:outer interior:exterior upper:lower top:bottom upstream:downstream hot:cold warm:cool
hotter:colder warmer:cooler heat:cool wet:dry full:empty heavy:light heavier:lighter hard:soft thick:thin wide:narrow
deep:shallow near:far nearer:farther close:distant rich:poor old:new older:newer older:younger young:old
same:different similar:different identical:different equal:unequal public:private optional:mandatory optional:required
voluntary:compulsory voluntary:mandatory free:paid active:passive enter:leave arrive:depart arrive:leave import:export
push:pull attack:defend create:destroy build:destroy add:remove insert:remove attach:detach connect:disconnect
appear:disappear present:absent presence:absence true:false right:wrong correct:incorrect legal:illegal valid:invalid
safe:unsafe simple:complex easy:difficult easier:harder easy:hard easily:difficult cheap:expensive cheaper:dearer
positive:negative dynamic:static absolute:relative direct:indirect temporary:permanent finite:infinite
conscious:unconscious friend:enemy ally:enemy love:hate peace:war victory:defeat morning:evening summer:winter
encourage:discourage advantage:disadvantage trust:distrust obey:disobey lawful:unlawful often:rarely frequent:rare
frequently:rarely common:rare oldest:newest oldest:youngest earliest:latest ascend:descend
accelerate:decelerate profit:loss surplus:deficit supply:demand attach:remove deny:confirm confirm:refute
prove:disprove hire:dismiss hire:fire lock:unlock visible:invisible known:unknown vor:nach mehr:weniger größer:kleiner
höher:niedriger immer:nie alle:keine erlaubt:verboten mit:ohne steigen:sinken steigt:sinkt gestiegen:gesunken
zunehmen:abnehmen früher:später lang:kurz länger:kürzer hoch:niedrig groß:klein offen:geschlossen öffnen:schließen
mindestens:höchstens vorher:nachher innen:außen oben:unten links:rechts avant:après plus:moins toujours:jamais
avec:sans augmenter:diminuer augmente:diminue augmenté:diminué supérieur:inférieur ouvert:fermé premier:dernier
autorisé:interdit obligatoire:facultatif minimum:maximum with:without least:most heaviest:lightest hottest:coldest
deepest:shallowest nearest:farthest subsequent:prior afterwards:beforehand sooner:later north:south northern:southern
east:west eastern:western left:right allowed:forbidden permitted:forbidden
covered:excluded autorisés:interdits autorisées:interdites allowed:prohibited permitted:prohibited allowed:banned
"""
_PREFIXES = ("un", "in", "im", "ir", "il", "dis", "non", "de", "mis", "anti")
NO_DENIAL = frozenset({"only", "until", "just", "merely"})  # "not only", "not until 1920"
OPEN = frozenset({"if", "whether"})  # "it is not known whether"
PARTICIPLES = ("ed", "en", "wn", "t", "é", "ée", "és", "ées")
PASSIVE = frozenset("is are was were been be ist sind wird werden wurde est sont été".split())
PARTLY = frozenset("all every always necessarily everyone".split())
DENY_BEFORE = frozenset({"de", "nl", "sv"})  # "das gilt nicht", "dat werkt niet"


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


def contraries(stem: str, there: AbstractSet[str], language: str) -> AbstractSet[str]:
    """The words there that are the opposite of one, by meaning or by a prefix."""
    found = set(_opposites(language).get(stem, frozenset()) & there)
    for prefix in _PREFIXES:
        if len(stem) > 3 and f"{stem}less" in there:
            found.add(f"{stem}less")
        if len(stem) > 3 and prefix + stem in there:
            found.add(prefix + stem)
        if stem.startswith(prefix) and len(stem) - len(prefix) > 3 and stem[len(prefix) :] in there:
            found.add(stem[len(prefix) :])
    return found
