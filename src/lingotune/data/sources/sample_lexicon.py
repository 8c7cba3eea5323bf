"""The words of the generated reviews: six languages, written for this project. Data only.

A table is one string, its entries separated by `|`. Slots: `{a}` an aspect, `{x}` its adjective,
`{n}` the product, `{who}`, `{when}`, `{day}` and `{span}` from the tables of these names. Clauses
start in lower case and end without a full stop. An adjective with a slash has two forms; the second
belongs to an aspect with a star (French, Spanish: feminine) or to a negation (Japanese).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

Entries = tuple[str, ...]


def _entries(table: str) -> Entries:
    return tuple(" ".join(entry.split()) for entry in table.split("|"))


@dataclass(frozen=True)
class Topic:
    """A product category: what is bought, and what can be said about it."""

    category: str
    products: Entries
    aspects: Entries


def _topics(common: str, **tables: str) -> tuple[Topic, ...]:
    """`category="products ; aspects"`; the common aspects suit every category."""
    topics = []
    for category, table in tables.items():
        products, aspects = table.split(";")
        topics.append(Topic(category, _entries(products), _entries(aspects + "|" + common)))
    return tuple(topics)


@dataclass(frozen=True)
class Lexicon:
    """All tables of one language."""

    topics: tuple[Topic, ...]
    adjectives: dict[int, Entries]
    """By grade: -2 awful, -1 bad, 0 so-so, 1 good, 2 great."""
    statements: dict[str, Entries]
    """Frames of `{a}` and `{x}`; `not` and `not_at_all` turn the grade over."""
    verdicts: dict[int, Entries]
    """Whole clauses by grade; many differ from another grade's only by their negation."""
    context: Entries
    """Whole clauses that say nothing about the stars, though their words may sound like it."""
    contrasts: Entries
    """Frames of `{weak}` and `{main}`; the main clause decides."""
    joins: Entries
    """Frames of `{one}` and `{two}`, two clauses that agree."""
    fillers: dict[str, Entries]
    """For the slots who, when, day and span."""
    titles: dict[int, Entries]
    """By stars. No body contains one."""
    spellings: tuple[tuple[str, str], ...]
    """Other spellings that careless writers use: `(usual, other)`."""
    stops: tuple[str, str]
    """Frames of a sentence that ends calmly, and of an excited one."""
    spaced: bool = True
    """False: no spaces between words and sentences, no capital letters."""

    @cached_property
    def folded_titles(self) -> Entries:
        """Titles for all stars, case-folded."""
        return tuple(title.casefold() for titles in self.titles.values() for title in titles)


def _lexicon(
    topics: tuple[Topic, ...],
    adjectives: tuple[str, str, str, str, str],
    statements: tuple[str, str, str, str, str, str],
    verdicts: tuple[str, str, str, str, str],
    titles: tuple[str, str, str, str, str],
    fillers: tuple[str, str, str, str],
    context: str,
    contrasts: str,
    joins: str,
    spellings: str,
    stops: tuple[str, str],
    spaced: bool = True,
) -> Lexicon:
    frames = ("mild", "very", "extreme", "not", "not_at_all", "so_so")
    pairs = [entry.split(">") for entry in _entries(spellings)]
    return Lexicon(
        topics=topics,
        adjectives={grade: _entries(t) for grade, t in zip(range(-2, 3), adjectives)},
        statements={name: _entries(t) for name, t in zip(frames, statements)},
        verdicts={grade: _entries(t) for grade, t in zip(range(-2, 3), verdicts)},
        titles={stars: _entries(t) for stars, t in zip(range(1, 6), titles)},
        fillers={n: _entries(t) for n, t in zip(("who", "when", "day", "span"), fillers)},
        context=_entries(context),
        contrasts=_entries(contrasts),
        joins=_entries(joins),
        spellings=tuple((usual, other) for usual, other in pairs),
        stops=stops,
        spaced=spaced,
    )


_ENGLISH = _lexicon(
    topics=_topics(
        """the quality | the price | the delivery | the packaging | the design
        | the customer service""",
        electronics="""this charger | this speaker | this keyboard | this camera
            ; the battery | the sound | the screen | the cable""",
        kitchen="""this kettle | this pan | this mixer | this coffee maker
            ; the lid | the handle | the coating | the capacity""",
        apparel="""this jacket | this dress | this sweater | this shirt
            ; the fabric | the fit | the colour | the stitching""",
        toy="""this puzzle | this doll | this board game | this toy train
            ; the paint | the material | the idea | the manual""",
        beauty="""this cream | this shampoo | this lipstick | this perfume
            ; the scent | the texture | the effect | the bottle""",
        sports="""this tent | this backpack | this yoga mat | this water bottle
            ; the zip | the weight | the padding | the grip""",
    ),
    adjectives=(
        "terrible | awful | dreadful | horrible | unacceptable | a disaster",
        "bad | poor | weak | disappointing | annoying | questionable",
        "okay | average | acceptable | nothing special | so-so | middling",
        "good | solid | nice | convincing | pleasing | impressive",
        "excellent | fantastic | outstanding | perfect | superb | brilliant",
    ),
    statements=(
        "{a} is {x} | {a} is quite {x} | {a} is rather {x} | I find {a} {x}",
        "{a} is very {x} | {a} is really {x} | {a} is so {x} | I find {a} very {x}",
        "{a} is {x} | {a} is simply {x} | {a} is absolutely {x} | I find {a} {x}",
        "{a} is not {x} | {a} isn't {x} | {a} is not exactly {x} | I don't find {a} {x}",
        "{a} is not {x} at all | {a} is anything but {x} | {a} is by no means {x}",
        "{a} is {x} | {a} is just {x} | {a} is {x} in my opinion | I find {a} {x}",
    ),
    verdicts=(
        """I hate {n} | never buy {n} | I would never order {n} again | I want my money back
        | it is the worst purchase of the year | it is a complete waste of money
        | it broke after {span} | I could not be more disappointed | {who} was horrified""",
        """I am not happy with it | I cannot recommend {n} | I would not buy {n} again
        | it was not worth the money | I regret the purchase | I have a lot to complain about
        | it has let me down more than once | it is worse than my old one
        | my old one was better | it stopped working after {span} | {who} does not like it
        | it does not work without problems | I am sending it back""",
        """it does what it should, nothing more | it is neither good nor bad
        | it is enough for occasional use | I am in two minds about it | you get what you pay for
        | it has its good and its bad sides | it is not great and not terrible
        | I had expected a little more | {who} thinks it is okay | it will do for the time being""",
        """I am happy with it | I can recommend {n} | I would buy {n} again
        | it was worth the money | I do not regret the purchase | I have nothing to complain about
        | it has not let me down once | it is better than my old one | my old one was worse
        | it still works after {span} | {who} likes it | it works without problems
        | I am not sending it back""",
        """I love {n} | everyone should buy {n} | I would order {n} again at once
        | it is the best purchase of the year | it is worth every penny
        | it looks like new after {span} | I could not be happier | {who} was thrilled
        | I never want to be without it again""",
    ),
    titles=(
        "Do not buy this! | One star is too many | Waste of money!! | Total junk, avoid",
        "A real let-down | Would return it | Below expectations | Not for me, two stars",
        "Mixed feelings | Three stars | Average product | It's OK I guess",
        "Good buy | Four stars | Happy customer | Nearly perfect product",
        "Five stars! | Love it, love it | Best ever!! | Highly recommended product",
    ),
    fillers=(
        """my sister | my brother | my mother | my husband | my daughter | my son | my neighbour
        | a friend""",
        "last week | in spring | a month ago | before Christmas | in May | two weeks ago",
        "Monday | Tuesday | Wednesday | Thursday | Friday | Saturday",
        "a week | two weeks | a month | three months | half a year | a few days",
    ),
    context="""I bought {n} for {who} | I ordered it {when} | it arrived on {day}
        | I had read many good reviews | a friend had warned me about bad copies
        | I needed a present for {who} | this is my second order | I use it almost every day
        | my old one was broken | {who} wanted to have one as well
        | I compared several models {when} | the great reviews made me curious
        | I had been looking for something like this for {span}
        | I do not write reviews very often | the previous model was a disappointment
        | {who} has had the same one for {span}""",
    contrasts="""{weak}, but {main} | {weak}, but {main} | {weak}, however {main}
        | although {weak}, {main} | {main}, even though {weak}""",
    joins="{one} and {two} | {one}, and {two} | {one}; {two}",
    spellings="""colour>color | do not>don't | cannot>can't | very>verry | really>realy
        | does not>doesn't | it is>its""",
    stops=("{}.", "{}!"),
)

_JAPANESE = _lexicon(
    topics=_topics(
        "品質 | 値段 | 配送 | 梱包 | デザイン | サポートの対応",
        electronics="""この充電器 | このスピーカー | このキーボード | このカメラ
            ; バッテリー | 音質 | 画面 | ケーブル""",
        kitchen="""この電気ケトル | このフライパン | このミキサー | このコーヒーメーカー
            ; ふた | 取っ手 | コーティング | 容量""",
        apparel="""このジャケット | このワンピース | このセーター | このシャツ
            ; 生地 | 着心地 | 色合い | 縫製""",
        toy="""このパズル | この人形 | このボードゲーム | この電車のおもちゃ
            ; 塗装 | 素材 | アイデア | 説明書""",
        beauty="""このクリーム | このシャンプー | この口紅 | この香水
            ; 香り | 質感 | 効果 | ボトル""",
        sports="""このテント | このリュック | このヨガマット | この水筒
            ; ファスナー | 重さ | クッション性 | 持ちやすさ""",
    ),
    adjectives=(
        "最悪 | 最低 | 論外 | 話にならないレベル | 耐えがたいレベル | あまりにお粗末",
        """悪い/悪くない | ひどい/ひどくない | 残念/残念ではない | 粗末/粗末ではない
        | 不満/不満ではない | 物足りない/物足りなくはない""",
        "普通 | まあまあ | 可もなく不可もなくという感じ | そこそこ | 平均的 | 並",
        """良い/良くない | 優秀/優秀ではない | 魅力的/魅力的ではない | 好印象/好印象ではない
        | 満足/満足ではない | いい感じ/いい感じではない""",
        "最高 | 完璧 | 素晴らしい | 抜群 | 文句なし | 申し分ない",
    ),
    statements=(
        "{a}は{x}です | {a}はわりと{x}です | {a}は比較的{x}です | 個人的に{a}は{x}です",
        "{a}はとても{x}です | {a}は本当に{x}です | {a}はすごく{x}です | {a}はかなり{x}です",
        "{a}は{x}です | {a}はもう{x}です | {a}は本当に{x}です | {a}はまさに{x}です",
        "{a}は{x}です | {a}はあまり{x}です | {a}はそれほど{x}です | {a}は別に{x}です",
        "{a}は全然{x}です | {a}はまったく{x}です | {a}は決して{x}です",
        "{a}は{x}です | {a}はまあ{x}です | 全体的に{a}は{x}です | 個人的に{a}は{x}です",
    ),
    verdicts=(
        """{n}は大嫌いです | {n}は絶対に買わないほうがいいです | 二度と{n}は注文しません
        | 返金してほしいです | 今年一番の失敗でした | 完全にお金の無駄でした
        | {span}で壊れました | これ以上ないほどがっかりしました | {who}もあきれていました""",
        """満足していません | {n}はおすすめできません | {n}はもう買いません
        | 値段ほどの価値はありませんでした | 買って後悔しています | 不満がたくさんあります
        | 何度も期待を裏切られました | 前に使っていたものより悪いです
        | 前に使っていたもののほうが良かったです | {span}で動かなくなりました
        | {who}は気に入っていません | 問題なくは使えていません | 返品します""",
        """必要最低限という印象です | 良くも悪くもないです | たまに使うなら十分です
        | 評価に迷います | 値段なりの商品です | 良いところも悪いところもあります
        | 最高でも最悪でもないです | もう少し期待していました | {who}は普通だと言っています
        | 当分はこれで間に合わせます""",
        """満足しています | {n}はおすすめできます | {n}をまた買います
        | 値段以上の価値がありました | 買って後悔していません | 不満はありません
        | 一度も期待を裏切られていません | 前に使っていたものより良いです
        | 前に使っていたもののほうが悪かったです | {span}たっても動いています
        | {who}は気に入っています | 問題なく使えています | 返品はしません""",
        """{n}が大好きです | {n}は絶対に買ったほうがいいです | すぐにまた{n}を注文します
        | もう手放せません | 今年一番の買い物でした | まったくお金の無駄ではありませんでした
        | {span}たっても新品のようです | これ以上ないほど満足しました | {who}も大喜びでした""",
    ),
    titles=(
        "買ってはいけない | 星一つもあげたくない | お金を返して！ | 大失敗",
        "期待はずれ | 星二つ | 返品したい商品 | おすすめしません",
        "星三つ | 微妙なところ | 値段相応 | 悪くはないけれど",
        "星四つ | 良い買い物 | 満足な商品 | 買ってよかった",
        "星五つ！ | 大満足！ | 最高の商品 | 感動しました",
    ),
    fillers=(
        "妹 | 兄 | 母 | 夫 | 娘 | 息子 | 友人 | 同僚",
        "先週 | 春に | 一か月前に | クリスマス前に | 五月に | 二週間前に",
        "月曜日 | 火曜日 | 水曜日 | 木曜日 | 金曜日 | 土曜日",
        "一週間 | 二週間 | 一か月 | 三か月 | 半年 | 数日",
    ),
    context="""{who}のために{n}を買いました | {when}注文しました | {day}に届きました
        | 良いレビューをたくさん読みました | 友人に悪い偽物があると言われました
        | {who}へのプレゼントを探していました | 注文は二回目です | ほぼ毎日使っています
        | 前のものは壊れていました | {who}も同じものを欲しがっていました
        | {when}いくつかの機種を比べました | 最高だというレビューで興味を持ちました
        | こういうものを{span}探していました | 普段レビューはあまり書きません
        | 前のモデルは残念な商品でした | {who}も同じものを{span}使っています""",
    contrasts="""{weak}が、{main} | {weak}けど、{main} | {weak}。でも、{main}
        | {weak}。しかし{main} | {weak}。ただ、{main}""",
    joins="{one}し、{two} | {one}。また、{two} | {one}。それに{two}",
    spellings="""良い>いい | 良い>よい | 悪い>わるい | 本当に>ほんとに | とても>とっても
        | すごく>すっごく | ありません>ないです | 良くない>よくない | おすすめ>オススメ""",
    stops=("{}。", "{}！"),
    spaced=False,
)

_GERMAN = _lexicon(
    topics=_topics(
        "die Qualität | der Preis | die Lieferung | die Verpackung | das Design | der Kundendienst",
        electronics="""dieses Ladegerät | diesen Lautsprecher | diese Tastatur | diese Kamera
            ; der Akku | der Klang | der Bildschirm | das Kabel""",
        kitchen="""diesen Wasserkocher | diese Pfanne | diesen Mixer | diese Kaffeemaschine
            ; der Deckel | der Griff | die Beschichtung | das Fassungsvermögen""",
        apparel="""diese Jacke | dieses Kleid | diesen Pullover | dieses Hemd
            ; der Stoff | die Passform | die Farbe | die Naht""",
        toy="""dieses Puzzle | diese Puppe | dieses Brettspiel | diese Holzeisenbahn
            ; die Lackierung | das Material | die Idee | die Anleitung""",
        beauty="""diese Creme | dieses Shampoo | diesen Lippenstift | dieses Parfüm
            ; der Duft | die Konsistenz | die Wirkung | die Flasche""",
        sports="""dieses Zelt | diesen Rucksack | diese Yogamatte | diese Trinkflasche
            ; der Reißverschluss | das Gewicht | die Polsterung | die Verarbeitung""",
    ),
    adjectives=(
        "furchtbar | katastrophal | miserabel | grauenhaft | unterirdisch | eine Frechheit",
        "schlecht | schwach | enttäuschend | mangelhaft | ärgerlich | dürftig",
        """in Ordnung | durchschnittlich | mittelmäßig | akzeptabel | nichts Besonderes
        | so lala""",
        "gut | ordentlich | überzeugend | gelungen | ansprechend | erfreulich",
        "hervorragend | ausgezeichnet | fantastisch | perfekt | großartig | spitze",
    ),
    statements=(
        """{a} ist {x} | {a} ist ziemlich {x} | {a} ist recht {x} | {a} ist meiner Meinung nach
        {x}""",
        "{a} ist sehr {x} | {a} ist wirklich {x} | {a} ist richtig {x} | {a} ist äußerst {x}",
        "{a} ist {x} | {a} ist einfach {x} | {a} ist absolut {x} | {a} ist schlicht {x}",
        """{a} ist nicht {x} | {a} ist nicht gerade {x} | {a} ist nicht wirklich {x}
        | {a} ist nicht besonders {x}""",
        "{a} ist überhaupt nicht {x} | {a} ist alles andere als {x} | {a} ist keineswegs {x}",
        """{a} ist {x} | {a} ist eher {x} | {a} ist {x}, würde ich sagen
        | {a} ist meiner Meinung nach {x}""",
    ),
    verdicts=(
        """ich hasse {n} | man sollte {n} auf keinen Fall kaufen
        | ich würde {n} nie wieder bestellen | ich will mein Geld zurück
        | es war der schlechteste Kauf des Jahres | das ist reine Geldverschwendung
        | nach {span} war alles kaputt | ich könnte nicht enttäuschter sein
        | {who} war entsetzt""",
        """ich bin nicht zufrieden | ich kann {n} nicht empfehlen
        | ich würde {n} nicht noch einmal kaufen | das war sein Geld nicht wert
        | ich bereue den Kauf | ich habe viel zu beanstanden | ich wurde mehrmals enttäuscht
        | mein altes Modell war besser | es ist schlechter als mein altes Modell
        | nach {span} funktionierte es nicht mehr | {who} mag es nicht
        | es funktioniert nicht ohne Probleme | ich schicke es zurück""",
        """es tut, was es soll, mehr nicht | es ist weder gut noch schlecht
        | für den gelegentlichen Gebrauch reicht es | ich bin hin- und hergerissen
        | man bekommt, was man bezahlt | es hat gute und schlechte Seiten
        | es ist nicht toll und nicht furchtbar | ich hatte etwas mehr erwartet
        | {who} findet es ganz okay | fürs Erste geht es""",
        """ich bin zufrieden | ich kann {n} empfehlen | ich würde {n} noch einmal kaufen
        | das war sein Geld wert | ich bereue den Kauf nicht | ich habe nichts zu beanstanden
        | ich wurde kein einziges Mal enttäuscht | mein altes Modell war schlechter
        | es ist besser als mein altes Modell | nach {span} funktioniert es immer noch
        | {who} mag es | es funktioniert ohne Probleme | ich schicke es nicht zurück""",
        """ich liebe {n} | man sollte {n} auf jeden Fall kaufen
        | ich würde {n} sofort wieder bestellen | ich gebe es nie wieder her
        | es war der beste Kauf des Jahres | das ist jeden Cent wert
        | nach {span} war alles wie neu | ich könnte nicht glücklicher sein
        | {who} war begeistert""",
    ),
    titles=(
        "Finger weg! | Ein Stern ist zu viel | Nie mehr!! | Totaler Schrott",
        "Leider nein | Zwei Sterne | Leider ein Fehlkauf | Unter den Erwartungen",
        "Gemischte Gefühle | Drei Sterne | Geht so | Mittelmaß",
        "Guter Kauf | Vier Sterne | Zufriedener Kunde | Fast alles bestens",
        "Fünf Sterne! | Klare Empfehlung | Einfach spitzenmäßig | Bin begeistert!!",
    ),
    fillers=(
        """meine Schwester | meine Mutter | meine Frau | meine Tochter | meine Oma
        | meine Nachbarin | mein Kind | meine Freundin""",
        "letzte Woche | im Frühling | vor einem Monat | vor Weihnachten | im Mai | vor zwei Wochen",
        "Montag | Dienstag | Mittwoch | Donnerstag | Freitag | Samstag",
        "einer Woche | zwei Wochen | einem Monat | drei Monaten | einem halben Jahr | wenigen Tagen",
    ),
    context="""ich habe {n} für {who} gekauft | bestellt habe ich {when}
        | das Paket kam am {day} an | ich hatte viele gute Bewertungen gelesen
        | ein Freund hatte mich vor schlechten Kopien gewarnt
        | ich brauchte ein Geschenk für {who} | das ist meine zweite Bestellung
        | ich benutze es fast jeden Tag | mein altes Modell war kaputt
        | {who} wollte auch so etwas haben | {when} habe ich mehrere Modelle verglichen
        | die großartigen Bewertungen hatten mich neugierig gemacht
        | gesucht hatte ich so etwas seit {span} | ich schreibe nicht oft Bewertungen
        | das Vorgängermodell war eine Enttäuschung | {who} hat dasselbe Modell seit {span}""",
    contrasts="""{weak}, aber {main} | {weak}, aber {main} | {weak}, doch {main}
        | zugegeben, {weak}, aber {main} | {main}, auch wenn ich zugebe: {weak}""",
    joins="{one} und {two} | {one}, und {two} | {one}; {two}",
    spellings="""ß>ss | ü>ue | ä>ae | wirklich>wirklcih | überhaupt>überhaubt | ziemlich>ziehmlich
        | nicht>nich""",
    stops=("{}.", "{}!"),
)

_FRENCH = _lexicon(
    topics=_topics(
        "la qualité* | le prix | la livraison* | l'emballage | le design | le service client",
        electronics="""ce chargeur | cette enceinte | ce clavier | cet appareil photo
            ; la batterie* | le son | l'écran | le câble""",
        kitchen="""cette bouilloire | cette poêle | ce mixeur | cette cafetière
            ; le couvercle | le manche | le revêtement | la capacité*""",
        apparel="""cette veste | cette robe | ce pull | cette chemise
            ; le tissu | la coupe* | la couleur* | la couture*""",
        toy="""ce puzzle | cette poupée | ce jeu de société | ce petit train
            ; la peinture* | le matériau | le concept | la notice*""",
        beauty="""cette crème | ce shampoing | ce rouge à lèvres | ce parfum
            ; l'odeur* | la texture* | l'effet | le flacon""",
        sports="""cette tente | ce sac à dos | ce tapis de yoga | cette gourde
            ; la fermeture éclair* | le poids | le rembourrage | la prise en main*""",
    ),
    adjectives=(
        """affreux/affreuse | catastrophique | lamentable | horrible | désastreux/désastreuse
        | inadmissible""",
        """mauvais/mauvaise | décevant/décevante | faible | médiocre | raté/ratée
        | insuffisant/insuffisante""",
        "correct/correcte | moyen/moyenne | acceptable | passable | sans plus | convenable",
        """bon/bonne | satisfaisant/satisfaisante | convaincant/convaincante | réussi/réussie
        | appréciable | soigné/soignée""",
        "excellent/excellente | parfait/parfaite | superbe | impeccable | formidable | remarquable",
    ),
    statements=(
        "{a} est {x} | {a} est plutôt {x} | {a} est assez {x} | je trouve {a} {x}",
        """{a} est très {x} | {a} est vraiment {x} | {a} est tellement {x}
        | je trouve {a} très {x}""",
        """{a} est {x} | {a} est tout simplement {x} | {a} est absolument {x}
        | je trouve {a} {x}""",
        """{a} n'est pas {x} | {a} n'est pas vraiment {x} | {a} n'est pas si {x}
        | je ne trouve pas {a} {x}""",
        "{a} n'est pas du tout {x} | {a} est tout sauf {x} | {a} est loin d'être {x}",
        "{a} est {x} | {a} est juste {x} | {a} est {x} à mon avis | je trouve {a} {x}",
    ),
    verdicts=(
        """je déteste {n} | n'achetez surtout pas {n} | je ne commanderais plus jamais {n}
        | je veux être remboursée | c'est le pire achat de l'année
        | c'est de l'argent jeté par les fenêtres | tout était cassé au bout de {span}
        | je ne pourrais pas être plus déçue | {who} était sous le choc""",
        """je n'en suis pas contente | je ne peux pas recommander {n}
        | je ne rachèterais pas {n} | cela ne valait pas son prix | je regrette mon achat
        | j'ai beaucoup de reproches à faire | cela m'a déçue plus d'une fois
        | mon ancien modèle était meilleur | c'est moins bien que mon ancien modèle
        | cela ne marchait plus au bout de {span} | {who} n'aime pas
        | cela ne fonctionne pas sans problème | je vais le renvoyer""",
        """cela fait le travail, rien de plus | ce n'est ni bon ni mauvais
        | cela suffit pour un usage occasionnel | mon avis est partagé
        | on en a pour son argent, sans surprise | il y a du bon et du mauvais
        | ce n'est ni génial ni horrible | j'en attendais un peu plus
        | {who} trouve cela passable | cela ira pour le moment""",
        """j'en suis contente | je peux recommander {n} | je rachèterais {n}
        | cela valait son prix | je ne regrette pas mon achat | je n'ai aucun reproche à faire
        | cela ne m'a pas déçue une seule fois | mon ancien modèle était moins bien
        | c'est meilleur que mon ancien modèle | cela marche toujours au bout de {span}
        | {who} aime bien | cela fonctionne sans problème | je ne vais pas le renvoyer""",
        """j'adore {n} | achetez {n} les yeux fermés | je commanderais {n} de nouveau sans hésiter
        | je ne peux plus m'en passer | c'est le meilleur achat de l'année
        | cela vaut chaque centime | tout était comme neuf au bout de {span}
        | je ne pourrais pas être plus contente | {who} était aux anges""",
    ),
    titles=(
        "À fuir ! | Une étoile de trop | Arnaque ! | Nul, nul, nul",
        "Grosse déception | Deux étoiles | Mauvaise surprise | En dessous de mes attentes",
        "Avis mitigé | Trois étoiles | Moyen, sans plus | Bof",
        "Bon achat | Quatre étoiles | Cliente satisfaite | Presque le sans-faute",
        "Cinq étoiles ! | Foncez ! | Un vrai coup de cœur | Top, top, top",
    ),
    fillers=(
        """ma sœur | mon frère | ma mère | mon mari | ma fille | mon fils | ma voisine
        | une amie""",
        """la semaine dernière | au printemps | il y a un mois | avant Noël | en mai
        | il y a deux semaines""",
        "lundi | mardi | mercredi | jeudi | vendredi | samedi",
        "une semaine | deux semaines | un mois | trois mois | six mois | quelques jours",
    ),
    context="""j'ai acheté {n} pour {who} | j'ai passé commande {when} | le colis est arrivé {day}
        | j'avais lu beaucoup de bons avis | une amie m'avait parlé de mauvaises copies
        | je cherchais un cadeau pour {who} | c'est ma deuxième commande
        | je m'en sers presque tous les jours | mon ancien modèle était cassé
        | {who} en voulait aussi | j'ai comparé plusieurs modèles {when}
        | les excellents avis m'avaient intriguée
        | je cherchais quelque chose de ce genre depuis {span} | je n'écris pas souvent d'avis
        | le modèle précédent était une déception | {who} a le même depuis {span}""",
    contrasts="""{weak}, mais {main} | {weak}, mais {main} | {weak}, cependant {main}
        | même si {weak}, {main} | {main}, même si {weak}""",
    joins="{one} et {two} | {one}, et {two} | {one} ; {two}",
    spellings="""é>e | è>e | ç>c | très>tres | vraiment>vraiement | c'est>cest | cela>ça
        | n'est pas>est pas""",
    stops=("{}.", "{} !"),
)

_CHINESE = _lexicon(
    topics=_topics(
        "质量 | 价格 | 物流 | 包装 | 设计 | 客服",
        electronics="这个充电器 | 这个音箱 | 这个键盘 | 这台相机 ; 电池 | 音质 | 屏幕 | 数据线",
        kitchen="这个电水壶 | 这口锅 | 这台搅拌机 | 这台咖啡机 ; 盖子 | 手柄 | 涂层 | 容量",
        apparel="这件外套 | 这条裙子 | 这件毛衣 | 这件衬衫 ; 面料 | 版型 | 颜色 | 走线",
        toy="这套拼图 | 这个娃娃 | 这套桌游 | 这列玩具火车 ; 漆面 | 材质 | 创意 | 说明书",
        beauty="这款面霜 | 这瓶洗发水 | 这支口红 | 这瓶香水 ; 味道 | 质地 | 效果 | 瓶子",
        sports="这顶帐篷 | 这个背包 | 这张瑜伽垫 | 这个水壶 ; 拉链 | 重量 | 衬垫 | 手感",
    ),
    adjectives=(
        "糟透了 | 烂透了 | 惨不忍睹 | 差到极点 | 让人崩溃 | 一塌糊涂",
        "差 | 令人失望 | 糟糕 | 差劲 | 让人头疼 | 让人无语",
        "一般 | 还行 | 凑合 | 马马虎虎 | 中规中矩 | 普普通通",
        "好 | 令人满意 | 理想 | 出色 | 靠谱 | 让人放心",
        "棒极了 | 完美 | 好得没话说 | 一流 | 无可挑剔 | 超赞",
    ),
    statements=(
        "{a}挺{x}的 | {a}比较{x} | {a}确实{x} | 我觉得{a}挺{x}",
        "{a}非常{x} | {a}特别{x} | {a}真的很{x} | {a}十分{x}",
        "{a}{x} | {a}简直{x} | {a}真是{x} | 我觉得{a}{x}",
        "{a}不{x} | {a}并不{x} | {a}不怎么{x} | {a}不算{x} | 我觉得{a}不{x}",
        "{a}一点也不{x} | {a}根本不{x} | {a}完全不{x}",
        "{a}{x} | {a}只能说{x} | 感觉{a}{x} | 我觉得{a}{x}",
    ),
    verdicts=(
        """我讨厌{n} | 千万不要买{n} | 我再也不会买{n}了 | 我要求退款 | 这是今年最差的一次购物
        | 完全是浪费钱 | 用了{span}就坏了 | 失望得不能再失望了 | {who}看了直摇头""",
        """我不满意 | 我不推荐{n} | 我不会再买{n} | 不值这个价 | 后悔买了
        | 有很多可挑剔的地方 | 不止一次让我失望 | 比以前那个差 | 还是以前那个好
        | 用了{span}就不能用了 | {who}不喜欢 | 用起来有问题 | 我要退货""",
        """能用，仅此而已 | 不好也不坏 | 偶尔用用够了 | 说不上好坏 | 一分钱一分货
        | 有优点也有缺点 | 不惊艳也不糟糕 | 原本期待更高一点 | {who}觉得还行 | 先凑合用着吧""",
        """我满意 | 我推荐{n} | 我会再买{n} | 值这个价 | 不后悔买了 | 没有什么可挑剔的地方
        | 没有一次让我失望 | 比以前那个好 | 还是以前那个差 | 用了{span}还能用
        | {who}喜欢 | 用起来没有问题 | 我不会退货""",
        """我爱死{n}了 | 一定要买{n} | 我马上还会再买{n} | 再也离不开了
        | 这是今年最好的一次购物 | 完全不是浪费钱 | 用了{span}还像新的
        | 满意得不能再满意了 | {who}看了直夸""",
    ),
    titles=(
        "千万别买！ | 一星都嫌多 | 垃圾产品 | 上当受骗",
        "比较失望 | 两星 | 低于预期 | 不推荐购买",
        "三星 | 一般般吧 | 中等水平 | 好坏参半",
        "四星 | 不错的选择 | 值得购买 | 总体满意",
        "五星好评！ | 强烈推荐！ | 太喜欢了 | 物超所值",
    ),
    fillers=(
        "妹妹 | 哥哥 | 妈妈 | 老公 | 女儿 | 儿子 | 朋友 | 同事",
        "上周 | 春天 | 一个月前 | 圣诞节前 | 五月份 | 两周前",
        "周一 | 周二 | 周三 | 周四 | 周五 | 周六",
        "一周 | 两周 | 一个月 | 三个月 | 半年 | 几天",
    ),
    context="""{n}是给{who}买的 | {when}下的单 | {day}收到的货 | 之前看了很多好评
        | 朋友提醒过我有差的仿品 | 想给{who}买个礼物 | 这是第二次下单 | 几乎每天都用
        | 以前那个坏了 | {who}也想要一个 | {when}对比了好几款 | 看到都说完美就很好奇
        | 这样的东西我找了{span} | 我不怎么写评价 | 上一代产品令人失望
        | {who}也用了{span}同款""",
    contrasts="""{weak}，但是{main} | {weak}，但{main} | {weak}，不过{main}
        | 虽然{weak}，但是{main} | {main}，就是{weak}""",
    joins="{one}，{two} | {one}，而且{two} | {one}，{two}",
    spellings="""真的>真滴 | 非常>灰常 | 没有>木有 | 喜欢>稀饭 | 的>得 | 觉得>觉的 | 再>在
        | 特别>特憋""",
    stops=("{}。", "{}！"),
    spaced=False,
)

_SPANISH = _lexicon(
    topics=_topics(
        """la calidad* | el precio | la entrega* | el embalaje | el diseño
        | el servicio de atención al cliente""",
        electronics="""este cargador | este altavoz | este teclado | esta cámara
            ; la batería* | el sonido | la pantalla* | el cable""",
        kitchen="""este hervidor | esta sartén | esta batidora | esta cafetera
            ; la tapa* | el mango | el recubrimiento | la capacidad*""",
        apparel="""esta chaqueta | este vestido | este jersey | esta camisa
            ; el tejido | el corte | el color | la costura*""",
        toy="""este puzle | esta muñeca | este juego de mesa | este tren de juguete
            ; la pintura* | el material | la idea* | el manual""",
        beauty="""esta crema | este champú | este pintalabios | este perfume
            ; el aroma | la textura* | el efecto | el frasco""",
        sports="""esta tienda de campaña | esta mochila | esta esterilla de yoga
            | esta cantimplora ; la cremallera* | el peso | el acolchado | el agarre""",
    ),
    adjectives=(
        """horrible | pésimo/pésima | desastroso/desastrosa | lamentable | espantoso/espantosa
        | inaceptable""",
        "malo/mala | decepcionante | flojo/floja | mediocre | deficiente | pobre",
        "normal | aceptable | regular | correcto/correcta | pasable | del montón",
        """bueno/buena | satisfactorio/satisfactoria | convincente | logrado/lograda
        | acertado/acertada | recomendable""",
        """excelente | perfecto/perfecta | fantástico/fantástica | estupendo/estupenda
        | magnífico/magnífica | impecable""",
    ),
    statements=(
        "{a} es {x} | {a} es bastante {x} | {a} me parece {x} | creo que {a} es {x}",
        """{a} es muy {x} | {a} es realmente {x} | {a} es de verdad {x}
        | {a} me parece muy {x}""",
        "{a} es {x} | {a} es sencillamente {x} | {a} me parece {x} | creo que {a} es {x}",
        "{a} no es {x} | {a} no es precisamente {x} | {a} no me parece {x} | {a} no es tan {x}",
        "{a} no es nada {x} | {a} es de todo menos {x} | {a} no es en absoluto {x}",
        "{a} es {x} | {a} es más bien {x} | {a} me parece {x} | en mi opinión, {a} es {x}",
    ),
    verdicts=(
        """odio {n} | que nadie compre {n} | nunca más pediría {n}
        | quiero que me devuelvan el dinero | es la peor compra del año | es tirar el dinero
        | dejó de servir tras {span} | no podría estar más decepcionada
        | a {who} le dio pena verlo""",
        """no estoy contenta | no puedo recomendar {n} | no volvería a comprar {n}
        | no valía lo que cuesta | me arrepiento de la compra | tengo muchas quejas
        | me ha fallado más de una vez | mi modelo anterior era mejor
        | es peor que mi modelo anterior | ya no funciona después de {span}
        | a {who} no le gusta | no funciona sin problemas | lo voy a devolver""",
        """cumple su función y nada más | no es ni bueno ni malo
        | para un uso ocasional es suficiente | tengo sentimientos encontrados
        | da lo que se paga, ni más ni menos | tiene cosas buenas y cosas malas
        | no es genial ni horrible | esperaba un poco más | a {who} le parece normal
        | de momento me apaño con esto""",
        """estoy contenta | puedo recomendar {n} | volvería a comprar {n} | valía lo que cuesta
        | no me arrepiento de la compra | no tengo ninguna queja | no me ha fallado ni una vez
        | mi modelo anterior era peor | es mejor que mi modelo anterior
        | todavía funciona después de {span} | a {who} le gusta | funciona sin problemas
        | no lo voy a devolver""",
        """me encanta {n} | que todo el mundo compre {n} | pediría otra vez {n} sin dudarlo
        | ya no puedo vivir sin esto | es la mejor compra del año | vale cada céntimo
        | sigue como nuevo tras {span} | no podría estar más contenta
        | a {who} le hizo mucha ilusión""",
    ),
    titles=(
        "¡No lo compréis! | Una estrella es demasiado | Una estafa | Basura total",
        "Me esperaba otra cosa | Dos estrellas | No cumple lo prometido | Compra fallida",
        "Sin más | Tres estrellas | Ni fu ni fa | Opiniones divididas",
        "Buena compra | Cuatro estrellas | Clienta satisfecha | Casi todo perfecto",
        "¡Cinco estrellas! | Totalmente recomendado | ¡Maravilla! | Compra redonda",
    ),
    fillers=(
        """mi hermana | mi hermano | mi madre | mi marido | mi hija | mi hijo | mi vecina
        | una amiga""",
        """la semana pasada | en primavera | hace un mes | antes de Navidad | en mayo
        | hace dos semanas""",
        "lunes | martes | miércoles | jueves | viernes | sábado",
        "una semana | dos semanas | un mes | tres meses | medio año | unos días",
    ),
    context="""compré {n} para {who} | hice el pedido {when} | el paquete llegó el {day}
        | había leído muchas opiniones buenas | una amiga me avisó de que hay copias malas
        | necesitaba un regalo para {who} | es mi segundo pedido | lo uso casi todos los días
        | mi modelo anterior estaba roto | {who} también quería tener uno
        | {when} comparé varios modelos | las opiniones excelentes me dieron curiosidad
        | llevaba {span} buscando algo así | no suelo escribir opiniones
        | el modelo anterior fue una decepción | {who} tiene el mismo desde hace {span}""",
    contrasts="""{weak}, pero {main} | {weak}, pero {main} | {weak}, sin embargo {main}
        | aunque {weak}, {main} | {main}, aunque {weak}""",
    joins="{one} y {two} | {one}, y {two} | {one}; {two}",
    spellings="""á>a | é>e | ó>o | í>i | ñ>n | también>tambien | bastante>vastante | volvería>bolvería
        | muy>mui""",
    stops=("{}.", "¡{}!"),
)

LEXICONS: dict[str, Lexicon] = {
    "en": _ENGLISH,
    "ja": _JAPANESE,
    "de": _GERMAN,
    "fr": _FRENCH,
    "zh": _CHINESE,
    "es": _SPANISH,
}
"""Lexicons by language code."""
