"""The words around ages, for `ages.py`. Like `safety_words.py` they are no policy."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# From zero on, in each language.
_FROM_ZERO = {
    "en": """
        zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen""",
    "de": """
        null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn
        siebzehn""",
    "fr": """
        zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dixsept""",
    "es": """
        cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis
        diecisiete""",
    "pt": """
        zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis dezessete""",
    "it": """
        zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici
        diciassette""",
    "nl": """
        nul een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien
        zeventien""",
    "pl": """
        zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć jedenaście dwanaście trzynaście
        czternaście piętnaście szesnaście siedemnaście""",
    "ru": """
        ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать тринадцать четырнадцать
        пятнадцать шестнадцать семнадцать""",
}
NUMBERS = {word: number for words in _FROM_ZERO.values() for number, word in enumerate(words.split())}
NUMBERS |= {roman: number for number, roman in enumerate(_words("x xi xii xiii xiv xv xvi xvii"), 10)}
NUMBERS |= {"dozen": 12, "catorze": 14, "dezasseis": 16, "dezassete": 17, "eighteen": 18}
# How they begin a word that ends in "years old", from one on: "czternastoletnia".
_FROM_ONE = {
    "de": "ein",
    "pl": """
        jedno dwu trzy cztero pięcio sześcio siedmio ośmio dziewięcio dziesięcio jedenasto dwunasto trzynasto
        czternasto piętnasto szesnasto siedemnasto""",
    "ru": """
        одно двух трех четырех пяти шести семи восьми девяти десяти одиннадцати двенадцати тринадцати четырнадцати
        пятнадцати шестнадцати семнадцати""",
}
BEGINNINGS = {word: number for words in _FROM_ONE.values() for number, word in enumerate(words.split(), 1)}
# What makes a number after it part of a greater one: "twenty-five".
TENS = _words("""
    twenty thirty forty fourty fifty sixty seventy eighty ninety hundred vingt trente quarante cinquante soixante
    veinte treinta cuarenta cincuenta sesenta vinte trinta quarenta cinquenta venti trenta quaranta cinquanta
    dwadzieścia trzydzieści czterdzieści pięćdziesiąt двадцать тридцать сорок пятьдесят""")
JOINING = ("and", "y", "e", "et", "i")
# Left out before anything else: "aged just 12", "four and a half years old", "she is only fourteen".
FILLERS = _words("""
    and a an half just only about around almost nearly barely like of the is was are am im m s re be being
    very than als et und en de di der die das ist est es è solo nur sólo apenas seulement slechts tylko только""")
# After a number each of these makes it an age by itself; as the beginning of a word, too ("jähriges").
AGE_AFTER = _words("""
    yo yearold yearolds yearsold yrold yrsold yr yrs ans anos años añitos aninhos anni annetti jahre jahren jahr jaar
    lat latek latka latki years лет год года годик годиков jahrig jährige jarig jarige letni letnia летн""")
AGE_STEMS = _words("jährig jarig летн letni")
# After a number these need "old" or "age" beside them.
YEARS = _words("year years y summers winters springs")
MONTHS = _words("month months mo mos week weeks day days monate monat wochen mois semaines meses mesi")
OLD = _words("old olds o age young alt oud")
# Before a number each of these makes it an age.
AGE_BEFORE = _words("""
    age aged ages agd turning turned turns alter alters âge âgé âgée edad idade età leeftijd wiek wieku возраст
    возрасте sweet looks look looking appears appearing seems""")
# Before a number of at least 10: someone in a list of tags, "woman, 16".
PERSON = _words("""
    she he shes hes who woman man female male lady person actress cosplayer character i me frau femme mujer mulher
    donna""")
UNDER = _words("under below younger u unter jünger moins menor menos meno onder poniżej до младше")
UNDER_AGES = (12, 13, 14, 16, 17, 18)
NOT_YET = _words("not yet pre before less unter isnt isn")
GRADE_AFTER = _words("grade grader graders grades klasse klässler klas klasa klasy класс класса classe")
GRADE_BEFORE = _words("grade klasse klas groep klasa классе")
ORDINALS = _words("st nd rd th")
BORN = _words("""
    born birth birthyear birthdate dob geboren geboortejaar geburtsjahr née né nés nacida nacido nascida
    nascido nata nato urodzona urodzony родилась родился рождения""")
