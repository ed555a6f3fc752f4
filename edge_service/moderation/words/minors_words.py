"""The words of the refusal that nobody can switch off (`safety.py`).

They stand in the program and not among the policies, because a policy is what an operator may change. Single words and
short forms only, no descriptions. Syntax: see `terms.py`. A word that means something harmless in another of the
languages stands under HOMOGRAPHS and counts only beside a word of its own language.
"""

from collections.abc import Mapping

Languages = Mapping[str, tuple[str, ...]]


def _words(text: str) -> tuple[str, ...]:
    """Terms between commas."""
    return tuple(" ".join(term.split()) for term in text.split(",") if term.strip())


# Who is, or may be, under 18. "girl" and "boy" are words for children; who means an adult can say woman or man.
MINOR: Languages = {
    "en": _words("""
        child, children, childs, childlike, childish, kid, kids, kiddie, kiddies, kiddo, kiddy, minor, minors,
        underage, underaged, under age, under aged, teen, teens, teenage, teenaged, teenager, teenagers, teenie,
        teenies, tween, tweens, tweenie, preteen, preteens, pre teen, pre teens, pubescent, prepubescent,
        prepubertal, pubertal, puberty, adolescent, adolescents, adolescence, juvenile, juveniles, infant, infants,
        infantile, baby, babies, toddler, toddlers, newborn, newborns, boy, boys, girl, girls, youngster,
        youngsters, youngling, younglings, young one, young ones, little one, little ones, tots, tiny tot, tyke,
        tykes, moppet, bairn, schoolgirl, schoolgirls, schoolboy, schoolboys, schoolkid, schoolkids, schoolchild,
        schoolchildren, school age, school aged, school uniform, school uniforms, kindergarten, kindergartner,
        kindergartners, kindergartener, preschool, preschooler, preschoolers, pre schooler, daycare, high school,
        highschool, high schooler, high schoolers, highschooler, highschoolers, middle school, middleschool,
        middle schooler, middle schoolers, middleschooler, junior high, elementary school, elementary schooler,
        primary school, grade school, grade schooler, gradeschooler, sixth former, sixth formers, first grade,
        first grader, second grader, third grade, third grader, fourth grade, fourth grader, fifth grade,
        fifth grader, sixth grade, sixth grader, seventh grade, seventh grader, eighth grade, eighth grader,
        ninth grade, ninth grader, tenth grade, tenth grader, eleventh grade, eleventh grader, twelfth grader,
        daughter, daughters, stepdaughter, stepdaughters, stepson, stepchild, granddaughter, granddaughters,
        grandson, grandchild, grandchildren, niece, nieces, nephew, nephews, little sister, little brother,
        younger sister, younger brother, kid sister, kid brother, my son, his son, her son, their son, young son,
        little son, cub scout, cub scouts, training bra, diaper, diapers, nappy, nappies, pacifier, loli, lolis,
        lolicon, lolita, lolitas, shota, shotas, shotacon, nymphet, nymphets, jailbait, jail bait, barely legal,
        not legal yet, not yet legal, ageplay, age play, ddlg, age regression, age regressed, de aged, deaged,
        aged down, age down, skoolgirl, skoolgirls, pedo, pedos, pedophil*, paedophil*, paedo, pederast*, hebephil*,
        ephebophil*, cp, pthc, cheese pizza"""),
    "de": _words("""
        kinder, kindern, kindes, kindchen, kindlich*, ein kind, eines kindes, das kind, dem kind, kleines kind,
        kleinkind*, schulkind*, mädchen, mädel, mädels, schulmädchen, schuljunge, schuljungen, kleiner junge,
        kleine jungen, bub, buben, knabe, knaben, jugendlich*, teenie, minderjährig*, unmündig*, säugling*, schüler,
        schülerin, schülerinnen, grundschüler*, grundschule, vorpubertär*, pubertär*, pubertierend*, tochter,
        töchter, nichte, neffe, heranwachsende*, halbwüchsig*"""),
    "fr": _words("""
        enfant, enfants, enfantin, enfantine, gamin, gamine, gamins, gamines, gosse, gosses, mineur, mineure,
        mineurs, mineures, fillette, fillettes, garçon, garçons, garçonnet, fille, filles, adolescente,
        adolescentes, bébé, bébés, écolier, écoliers, écolière, écolières, collégien, collégienne, collégiennes,
        lycéen, lycéens, lycéenne, lycéennes, nourrisson, nourrissons, préado, préados, préadolescent*, prépubère,
        impubère"""),
    "es": _words("""
        niños, niñas, niñita, niñito, una niña, un niño, la niña, el niño, menores, menor de edad, adolescente,
        adolescentes, infantil, infantiles, bebé, bebés, colegiala, colegialas, chiquilla, chiquillo, chiquillas,
        chiquillos, chamaca, chamaco, nena, nenas, nene, nenes, hija, hijas, quinceañera, quinceañeras, quinceañero"""),
    "pt": _words("""
        criança, crianças, criancinha, menina, meninas, menino, meninos, menininha, adolescente, adolescentes, bebê,
        bebês, menor de idade, menores de idade, novinha, novinhas, moleque, moleques, filha, filhas, filhinha"""),
    "it": _words("""
        bambino, bambina, bambini, bambine, bambinetta, ragazzina, ragazzino, ragazzine, ragazzini, minorenne,
        minorenni, adolescenti, neonato, neonata, neonati, figlia, figlie, fanciulla, fanciullo, fanciulle,
        fanciulli, liceale, liceali, bimba, bimbe, bimbi, undicenne, dodicenne, tredicenne, quattordicenne,
        quindicenne, sedicenne, diciassettenne"""),
    "nl": _words("""
        kinderen, kindje, kindjes, een kind, het kind, kleuter, kleuters, peuter, peuters, meisje, meisjes,
        jongetje, jongetjes, tiener, tieners, minderjarig*, puber, pubers, schoolmeisje, schoolmeisjes, dochter,
        dochters, dochtertje, scholier, scholieren"""),
    "pl": _words("""
        dziecko, dziecka, dzieckiem, dziecku, dzieci, dziecię*, dziewczynk*, chłopiec, chłopca, chłopcy, chłopcem,
        chłopców, chłopczyk*, nastolat*, nieletni*, małoletni*, niemowl*, przedszkol*, uczennic*, córk*, gimnazjal*,
        licealist*"""),
    "ru": _words("""
        ребенок, ребенка, ребенку, ребенком, дети, детей, детям, детьми, детск*, девочк*, девчонк*, мальчик*,
        мальчишк*, подрост*, несовершеннолетн*, малолетн*, младен*, малыш*, школьниц*, школьник*, дочь, дочк*,
        дочери"""),
    "zh": _words("""
        儿童, 兒童, 小孩, 孩子, 女孩, 男孩, 女童, 男童, 幼女, 幼童, 幼儿, 幼兒, 少女, 少年, 未成年, 萝莉, 蘿莉,
        正太, 小学生, 小學生, 初中生, 高中生, 中学生, 中學生, 婴儿, 嬰兒, 宝宝, 寶寶, 学生妹, 學生妹, 少儿, 小女生,
        小男生, 女学生, 女學生, 女儿, 女兒"""),
    "ja": _words("""
        子供, 子ども, こども, 幼, ランドセル, 女児, 男児, 女の子, 男の子, 高校生, 女子高生, 女子中学生, ロリ,
        ショタ, 赤ちゃん, 園児, 児童, 娘"""),
    "ko": _words("""
        어린이, 아동, 소녀, 소년, 미성년, 초등학생, 중학생, 고등학생, 여고생, 여중생, 남고생, 로리, 쇼타, 아기,
        꼬마, 유아, 여자아이, 남자아이, 청소년, 십대"""),
    "pictographs": ("👶", "👧", "👦", "🧒"),
}

SEXUAL: Languages = {
    "en": _words("""
        sex, sexy, noods, nekkid, sexier, sexiest, sexual, sexually, sexuali*, sexting, nude, nudes, nudity, nudist,
        nudists, nudism, naked, nakedness, topless, unclothed, undress, undressed, undresses, undressing, disrobed,
        disrobing, no clothes, no clothing, without clothes, without clothing, without any clothes, wearing nothing,
        nothing on, clothes off, no underwear, without underwear, no panties, no bra, birthday suit, in the buff,
        bare breasts, bare breasted, bare bottom, bare buttocks, skinny dip, skinny dipping, see through,
        seethrough, porn, porno, pornos, pornograph*, pron, xxx, x rated, nsfw, not safe for work, adult content,
        adult film, adult video, adult movie, adults only, adult themes, hentai, ecchi, erotic, erotica, erotically,
        eroticism, explicit, uncensored, lewd, lewds, lewdness, lascivious*, lecherous, lustful, lusty,
        lusting, horny, aroused, arousing, arousal, orgasm*, masturbat*, intercourse, coitus, foreplay, genital,
        genitals, genitalia, penis, penises, phallus, vagina, vulva, clitoris, scrotum, testicles, breasts, nipples,
        areola, areolas, cleavage, boob, boobs, boobies, tits, titties, busty, buxom, voluptuous, cum, cumming,
        cumshot, semen, ejaculat*, threesome, gangbang, orgy, orgies, incest, incestuous, fetish, fetishes, kink,
        kinks, kinky, bdsm, bondage, dominatrix, stripper, strippers, striptease, stripping, strip club, strips off,
        prostitut*, hooker, brothel, camgirl, onlyfans, only fans, lingerie, thong, thongs, g string, gstring,
        panties, panty, underwear, undies, knickers, bra, braless, negligee, jockstrap, micro bikini, microbikini,
        string bikini, skimpy, scantily, seductive, seductively, seduce, seduced, seduces, seducing, seduction,
        sensual, sensually, sensuality, provocative, provocatively, suggestive, suggestively, sultry, raunchy,
        obscene, indecent, salacious, titillating, smut, smutty, boudoir, pinup, hot girl, hot girls, hot boy,
        hot boys, hot teen, hot teens, hot schoolgirl, hot schoolgirls, hot teenager, hot teenagers, hot year old,
        hot yo, hot body, spread legs, legs spread, spreading legs, making love, make love, lovemaking, love making,
        one night stand, french kiss, french kissing, passionate kiss, kissing passionately, fondled, fondles,
        fondling, grope, groped, groping, molest, molested, molester, molesting, molestation, rape, raped, rapes,
        raping, rapist, sodom*, pervert*, pervy, deflower*, virginity, ahegao, upskirt, downblouse, voyeur*,
        camel toe, cameltoe, futanari, milf, slut, sluts, slutty, whore, whores, fuck, fucks, fucked, fucking, cock,
        cocks, pussy, pussies, anal, anus, dildo, vibrator, blowjob, handjob, fellatio, nice ass, her ass, big ass,
        twerk, twerking, lap dance, pole dance, pole dancer, kama sutra, kamasutra, thirst trap"""),
    "de": _words("""
        nackt*, nackig*, entblößt*, entblöst*, unbekleidet*, ausgezogen*, sexuell*, erotisch*, erotik*, pornograf*,
        geil, geile, geiler, geiles, freizügig*, unterwäsche, reizwäsche, höschen, busen, brüste, brustwarzen,
        intimbereich, verführerisch*, lasziv*, anzüglich*, unzüchtig*, unzensiert*, geschlechtsverkehr,
        geschlechtsteil*, oben ohne, aufreizend*, sinnlich*, ohne kleidung, ohne kleider, fick*, fkk"""),
    "fr": _words("""
        nue, nues, nudité, nudités, dénudé*, déshabill*, sexe, sexuel, sexuelle, sexuels, sexuelles, érotique,
        érotiques, érotisme, pornographique, explicite, explicites, seins, sous vêtements, culotte, culottes,
        sensuel, sensuelle, provocant, provocante, aguichant*, lubrique, génital*, obscène, sans vêtements, tout nu,
        toute nue, torride, coquine, coquines"""),
    "es": _words("""
        desnudo, desnuda, desnudos, desnudas, desnudez, desnudarse, sexo, sexi, sexuales, erótico, erótica,
        eróticos, eróticas, pornográfic*, explícito, explícita, explícitas, lencería, tetas, pechos, ropa interior,
        bragas, tanga, tangas, sensuales, seductora, seductor, provocativ*, lujuria, lujurios*, cachond*, sin ropa,
        genitales, lasciv*, follar, follando"""),
    "pt": _words("""
        nua, nuas, nudez, pelada, pelado, peladas, sem roupa, calcinha, calcinhas, peitos, seios, gostosa, safada,
        safado, sedutora, erótico, erótica, pornográfic*, roupa íntima, putaria, transando"""),
    "it": _words("""
        nudo, nuda, nudi, nudità, sesso, sessual*, erotico, erotici, erotiche, mutandine, biancheria intima, tette,
        provocante, provocanti, svestit*, spogliat*, senza vestiti, esplicito, esplicita, lussuri*, sensuale,
        sensuali, seducente"""),
    "nl": _words("""
        naakt*, bloot, blote, seks*, sekspot, ondergoed, borsten, zonder kleren, zonder kleding, uitgekleed,
        ontkleed, verleidelijk*, sensueel, sensuele, geile, onthuld lichaam"""),
    "pl": _words("""
        nago, nagi, nagie, nagiej, nagich, nagość, rozebran*, seks*, erotyczn*, bielizn*, majtk*, piersi, zmysłow*,
        bez ubrania, bez ubrań, uwodziciel*, podniecon*"""),
    "ru": _words("""
        голый, голая, голые, голое, голой, голого, голую, голых, голышом, голеньк*, обнажен*, обнаженн*, нагая,
        нагой, нагие, нагота, раздет*, раздева*, без одежды, секс*, эрот*, порно*, интимн*, нижнее белье,
        нижнем белье, трусик*, лифчик*, возбужд*, развратн*, похотлив*, соблазн*"""),
    "zh": _words("""
        裸, 色情, 情色, 性爱, 性愛, 性感, 做爱, 做愛, 淫, 黄片, 成人内容, 成人影片, 内衣, 內衣, 露点, 露點, 乳房,
        脱光, 没穿衣服, 沒穿衣服, 诱惑, 誘惑, 性交, 性行为, 性行為, 性虐, 情趣"""),
    "ja": _words("""
        ヌード, エロ, エッチ, セックス, ポルノ, アダルト, 下着, ランジェリー, 性的, わいせつ, 猥褻, 官能, おっぱい,
        乳首, 巨乳, パンティ, セクシー, 成人向け, 18禁, 服を着ていない"""),
    "ko": _words("""
        누드, 나체, 알몸, 벌거벗, 벗은, 섹스, 섹시, 야한, 야동, 음란, 포르노, 에로, 속옷, 란제리, 성행위, 성인물,
        자위, 19금, 성관계"""),
    "pictographs": ("🔞", "🍆"),
}

# Count only beside a word of the other list in the same language: "kind" is harmless English, "nu" is Dutch for now.
HOMOGRAPHS_MINOR: Languages = {
    "de": _words("kind, junge, jungen, teen"),
    "fr": _words("ado, ados"),
    "es": _words("nina, nino, menor, hijo, hijos"),
    "pt": _words("menor, menores, filho, filhos"),
    "it": _words("minore, minori, bimbo, figlio, figli"),
    "nl": _words("kind, jongen, jongens"),
}
HOMOGRAPHS_SEXUAL: Languages = {
    "fr": _words("nu, nus, string"),
    "pt": _words("nu, nus"),
    "pl": _words("naga, nagą, goła, goły, gołe"),
    "en": _words("nood"),
    "de": _words("dessous"),
}

# Alone each of these is said of adults, too. Words of two groups together are an indication of a minor.
YOUTH: Mapping[str, tuple[str, ...]] = {
    "young": _words("""
        young, younger, youngest, youth, youths, youthful, fresh faced, junge, junger, jung, jugend, jeune, jeunes,
        joven, jovencita, jovem, giovane, giovanissim*, jonge, jong, młoda, młody, молод*, юная, юный, юные, юной"""),
    "girl": _words("""
        girly, girlie, lass, lassie, gal, chica, chicas, chico, chicos, muchacha, muchacho, garota, garotas, garoto,
        ragazza, ragazze, ragazzo, ragazzi, dziewczyna, dziewczyny, jeune femme, 女生"""),
    "student": _words("""
        student, students, pupil, pupils, cheerleader, cheerleaders, babysitter, étudiante, estudiante, aluna,
        alumna, studentessa, leerling, élève, ученица, 学生, 學生, 학생"""),
    "school": _words(
        "school, schools, classroom, homework, schule, école, escuela, escola, scuola, szkoła, школа, 学校"
    ),
    "uniform": _words("uniform, uniforms, uniforme, sailor suit, plaid skirt, pleated skirt"),
    "body": _words("""
        petite, flat chest, flat chested, small breasts, tiny breasts, tiny body, small body, undeveloped,
        underdeveloped, developing body, smol, teeny, little body, hairless body"""),
    "innocence": _words("innocent, innocence, virgin, virgins, unschuldig*, first time, naive"),
    "looks": _words("pigtails, pig tails, braces, chibi, teddy bear, childhood, lollipop, baby face, babyface"),
    "family": _words("daddy, mommy, stepdad, step dad, stepdaddy, sis, little princess"),
}

# Alone each of these is said of children at the beach, too. Words of two groups together are sexual.
SUGGESTIVE: Mapping[str, tuple[str, ...]] = {
    "swimwear": _words("bikini, bikinis"),
    "pose": _words("pose, poses, posing, spread, bending over, bent over"),
    "cut": _words("revealing, tight, barely covered, minimal clothing, little clothing"),
    "skirt": _words("miniskirt, mini skirt, short skirt"),
    "stockings": _words("stockings, fishnet, fishnets, garter, latex"),
    "manner": _words("explicitly"),  # alone it is a word of manuals, beside "child processes"
    "sounds": _words("moan, moaning, moans, licking, spank, spanking, spanked"),
}

# What must not be asked away, by a negative prompt or a weight below one: what makes someone an adult ...
ADULT = _words("""
    adult, adults, adulthood, mature, grown, grownup, grownups, of age, eighteen, over eighteen, erwachsen*, adulte,
    adultes, adulto, adulta, adultos, adultas, adulti, volwassen*, dorosł*, взросл*, 成人, 成年, 大人, 성인, 어른""")
# ... and what covers someone.
COVERED = _words("""
    clothes, clothing, clothed, clothings, dressed, dress, garment, garments, shirt, shirts, pants, trousers, skirt,
    swimsuit, swimwear, bikini, underwear, panties, bra, sfw, safe for work, censored, censoring, censorship,
    mosaic, kleidung, bekleidet*, angezogen, vêtement, vêtements, habillé, habillée, ropa, vestida, vestido, roupa,
    roupas, vestiti, vestita, kleren, kleding, gekleed, ubrani*, ubran*, одежд*, одет*, 衣服, 服装, 服を着, 옷""")
# A negative prompt that says one of these is read as a prompt: who negates twice wants it shown.
NEGATIONS = _words("""
    not, no, non, never, without, nor, isnt, arent, dont, lacking, absence, nicht, kein*, ohne, sans, pas, sin, sem,
    senza, zonder, niet, geen, bez, nie, без, не, 没有, 不, ない, なし, 없는""")
