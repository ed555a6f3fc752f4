"""The words around ages, for `ages.py`. Like `safety_words.py` they are no policy."""

_NUMBERS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dixsept",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis diecisiete",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze treze quatorze quinze dezesseis dezessete",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici sedici"
    " diciassette",
    "nl": "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien zeventien",
    "pl": "zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć jedenaście dwanaście trzynaście"
    " czternaście piętnaście szesnaście siedemnaście",
    "ru": "ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать тринадцать"
    " четырнадцать пятнадцать шестнадцать семнадцать",
}  # fmt: skip
NUMBERS = {word: number for words in _NUMBERS.values() for number, word in enumerate(words.split())}
NUMBERS |= {"dozen": 12, "catorze": 14, "dezasseis": 16, "dezassete": 17, "eighteen": 18}
# What makes a number after it part of a greater one: "twenty-five".
TENS = """
    twenty thirty forty fourty fifty sixty seventy eighty ninety hundred vingt trente quarante cinquante soixante veinte
    treinta cuarenta cincuenta sesenta vinte trinta quarenta cinquenta venti trenta quaranta cinquanta dwadzieścia
    trzydzieści czterdzieści pięćdziesiąt двадцать тридцать сорок пятьдесят""".split()
JOINING = ("and", "y", "e", "et", "i")
# Left out before anything else: "aged just 12", "four and a half years old", "she is only fourteen".
FILLERS = """
    and a an half just only about around almost nearly barely like of the is was are am im m s re be being very than als
    et und en de di der die das ist est es en è only solo nur sólo apenas seulement slechts tylko только""".split()
# After a number each of these makes it an age by itself; as the beginning of a word, too ("jähriges").
AGE_AFTER = """
    yo yearold yearolds yearsold yrold yrsold yr yrs ans anos años añitos aninhos anni annetti jahre jahren jahr jaar
    lat latek лет год года годик годиков jahrig jährige jarig jarige letni letnia летн""".split()
AGE_STEMS = "jährig jarig летн letni".split()
# After a number these need "old" or "age" beside them.
YEARS = "year years y".split()
MONTHS = "month months mo mos week weeks day days monate monat wochen mois semaines meses mesi".split()
OLD = "old olds o age young alt oud".split()
# Before a number each of these makes it an age.
AGE_BEFORE = """
    age aged ages agd turning turned turns alter alters âge âgé âgée edad idade età leeftijd wiek wieku возраст
    возрасте sweet""".split()
# Before a number of at least 10: someone in a list of tags, "woman, 16".
PERSON = "she he shes hes who woman man female male lady person actress cosplayer character i me frau femme mujer mulher donna".split()
UNDER = "under below younger u unter jünger moins menor menos meno onder poniżej до младше".split()
UNDER_AGES = (12, 13, 14, 16, 17, 18)
NOT_YET = "not yet pre before less unter isnt isn".split()
GRADE_AFTER = "grade grader graders grades klasse klässler klas klasa klasy класс класса classe".split()
GRADE_BEFORE = "grade klasse klas groep klasa классе".split()
ORDINALS = "st nd rd th".split()
BORN = """
    born birth birthyear birthdate dob birthday geboren geboortejaar geburtsjahr née né nés nacida nacido nascida
    nascido nata nato urodzona urodzony родилась родился рождения""".split()
