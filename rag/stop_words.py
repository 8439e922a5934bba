"""The words that hold a sentence together, by language: articles, pronouns, prepositions, question words.

They tell in which language a text is written, and a search that ranks by them ranks by chance. Lists that can be had
as packages hold up to a thousand words, among them "amount", "effect" and "first", which a question may well be about.
"""

# As Snowball and ISO 639-1 name them. Words stand as they are written in lower case.
STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """a an and are as at be been but by can could did do does for from had has have he her his how i
            if in into is it its me my no not of on or our she should so such than that the their them then
            there these they this those to us was we were what when where which who whom whose why will with
            would you your""",
        "de": """aber als am an auch auf aus bei bin bis bist da damit dann das dass dein dem den der des die
            dies diese dieser dieses doch dort du durch ein eine einem einen einer eines er es für hat haben ich
            ihr ihre im in ist kann man mein mir mit muss nach nicht noch nur ob oder ohne sein seine sich sie
            sind so soll über um und uns unter vom von vor wann war waren was weil welche welcher welches wenn
            wer werden wie wir wird wo worden wurde wurden zu zum zur""",
        "fr": """à au aucun aussi autre aux avec ce ces cette comme comment dans de des donc dont du elle elles
            en est et été être eu fait il ils je la le les leur lors lui ma mais me même mes mon ne nos notre
            nous on ont ou où par pas plus pour pourquoi qu quand que quel quelle quelles quels qui quoi sa sans
            se ses si son sont sous sur ta te tes ton tu un une vos votre vous y c d j l m n s t""",
        "es": """a al algo como con cómo cuál cuáles cuando cuándo cuánto de del desde donde dónde el él ella
            ellas ellos en entre era eran es esa ese eso esta está están este esto estos fue fueron ha han hasta
            hay la las le les lo los me mi muy más no nos o otra otro para pero por porque que qué quien quién
            se ser si sido sin sobre son su sus también te tiene un una unas uno unos y ya yo""",
        "it": """a ad ai al alla alle anche che chi ci come con cosa cui da dai dal dalla degli dei del della
            delle dello di dove e è ed era gli ha hanno ho i il in io la le lei li lo loro lui ma me mi ne nei
            nel nella non nostro o per perché più quale quali quando quanto quella quello questa questo se sei
            si sia sono su sua suo sul sulla un una uno vi voi""",
        "pt": """a ao aos as até com como da das de dela dele do dos e é ela elas ele eles em entre era essa
            esse esta está este eu foi foram há isso isto já la lhe mais mas me mesmo meu minha muito na não nas
            nem no nos o os ou para pela pelas pelo pelos por porque qual quais quando quanto que quem se sem
            ser seu sua são só também te tem um uma você""",
        "nl": """aan al als bij dan dat de der deze die dit door een en er geen had heb hebben heeft het hij
            hoe hun ik in is je kan kunnen maar me men met mijn naar niet nog nu of om omdat ons onze ook op
            over te tot u uit van veel voor waar wanneer waren wat we welke werd wie wij worden wordt zal ze
            zich zij zijn zo""",
        "sv": """alla att av blev bli de dem den denna deras dess det detta dig din du då efter ej eller en er
            ett från för ha hade han hans har hon hur här i icke inte jag kan man med mellan men mig min mot
            mycket ni nu när och om oss på sedan sig sin ska skulle som så till under upp ut vad var varför vem
            vi vid vilka vilken vilket är än över""",
        "da": """af alle at blev bliver da de dem den denne der deres det dette dig din dog du efter eller en
            end er et for fra ham han hans har havde hende hendes hun hvad hvem hvilken hvilket hvis hvor
            hvordan hvorfor hvornår i ikke ind jeg jer jo kan man med meget men mig min mod ned nu når og også
            om op os over på selv sig sin skal skulle som sådan til ud under var vi vil ville være""",
        "no": """alle at av ble blir da de deg dem den denne der dere deres det dette din du eller en enn er et
            etter for fra før ha hadde han hans har hennes hun hva hvem hvilken hvilke hvis hvor hvordan hvorfor
            i ikke inn jeg kan kunne man med meg men mer min mot mye når og også om opp oss på seg selv sin skal
            skulle som så til ut var ved vi vil være vært""",
        "fi": """ei eivät ja jo joka jos jossa jotka kanssa kuin kuinka kun me mikä miksi milloin missä mitä
            mutta myös ne niin nyt näin oli olivat olla on ovat se sekä sen siitä sitä tai te tämä tämän vain
            vai että hän he minä sinä kuka""",
        "ru": """а без был была были было быть в вам вас весь во вот все всё вы где да для до его ее её если
            есть еще ещё же за и из или им их к как какая какие какой ко когда кто ли между меня мне мы на над
            не него нет ни но ну о об он она они оно от по под при с сколько со так также такой там то тот ты у
            уже чем что чтобы эта эти это этот я""",
        "pl": """a aby ale bez bo być był była było były co czy dla do gdy gdzie go i ich ile im jak jaka jaki
            jakie jako je jego jej jest już kiedy kto która które który lub ma może na nad nie niż o od oraz po
            pod przez przy są się ta tak także tam te tego tej ten to tych tym u w we z za ze że żeby""",
        "cs": """a aby ale ani až bez být byl byla bylo byly co či do i já jak jako jaké jaký je jeho její
            jejich jen ještě již jsem jsou k kam kde kdo kdy když která které který ma má mezi na nad ne nebo
            než o od on ona oni po pod podle pro proč protože před při s se si tak také tato ten tento to u v ve
            více však z za ze že""",
        "hu": """a ahol aki amely ami az be csak de e egy egyik el ez ezt és ha hanem hogy hogyan hol honnan is
            ki kik le lesz ma meg mely melyik mennyi mert mi mikor miért mint mit már ne nek nem nincs ő ők
            össze pedig s sem van vagy vannak volt voltak""",
        "ro": """a ai al ale am ar are au ca că care ce cea cel cele cine cu cum când cât de din după e ea ei
            el ele este eu fi fiind fost iar îi îl în între la le lui mai nu o ori pe pentru prin sau se și sunt
            să un unde unei unui va""",
        "tr": """acaba ama ancak bir bu çok da daha de değil diye en gibi hangi hem her hiç için ile ise kadar
            ki kim mi mı mu mü nasıl ne neden nerede o olan olarak oldu olduğu olur onlar sonra şu tüm var ve
            veya ya yok""",
    }.items()
}
