"""Countries and states under their ISO 3166 codes: names, time zones and telephone area codes.

Names and zones of countries are those of the tz database's `iso3166.tab` and `zone.tab`. Area
codes are those of libphonenumber's geography of numbers, by code alone: they stay what they are
when a number moves. A name that is not known for sure stands for nothing: it is never guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

TEXT_MAX = 80
CACHED_MAX = 4096

# One state a line: code, name, and zones that differ from each other now. Where a state's law and
# a few of its towns disagree on the hour, both zones are here.
_STATES = """
US-AL Alabama: America/Chicago
US-AK Alaska: America/Anchorage America/Adak
US-AZ Arizona: America/Phoenix America/Denver
US-AR Arkansas: America/Chicago
US-CA California: America/Los_Angeles
US-CO Colorado: America/Denver
US-CT Connecticut: America/New_York
US-DE Delaware: America/New_York
US-DC District of Columbia: America/New_York
US-FL Florida: America/New_York America/Chicago
US-GA Georgia: America/New_York
US-HI Hawaii: Pacific/Honolulu
US-ID Idaho: America/Denver America/Los_Angeles
US-IL Illinois: America/Chicago
US-IN Indiana: America/New_York America/Chicago
US-IA Iowa: America/Chicago
US-KS Kansas: America/Chicago America/Denver
US-KY Kentucky: America/New_York America/Chicago
US-LA Louisiana: America/Chicago
US-ME Maine: America/New_York
US-MD Maryland: America/New_York
US-MA Massachusetts: America/New_York
US-MI Michigan: America/New_York America/Chicago
US-MN Minnesota: America/Chicago
US-MS Mississippi: America/Chicago
US-MO Missouri: America/Chicago
US-MT Montana: America/Denver
US-NE Nebraska: America/Chicago America/Denver
US-NV Nevada: America/Los_Angeles America/Denver
US-NH New Hampshire: America/New_York
US-NJ New Jersey: America/New_York
US-NM New Mexico: America/Denver
US-NY New York: America/New_York
US-NC North Carolina: America/New_York
US-ND North Dakota: America/Chicago America/Denver
US-OH Ohio: America/New_York
US-OK Oklahoma: America/Chicago
US-OR Oregon: America/Los_Angeles America/Denver
US-PA Pennsylvania: America/New_York
US-RI Rhode Island: America/New_York
US-SC South Carolina: America/New_York
US-SD South Dakota: America/Chicago America/Denver
US-TN Tennessee: America/New_York America/Chicago
US-TX Texas: America/Chicago America/Denver
US-UT Utah: America/Denver
US-VT Vermont: America/New_York
US-VA Virginia: America/New_York
US-WA Washington: America/Los_Angeles
US-WV West Virginia: America/New_York
US-WI Wisconsin: America/Chicago
US-WY Wyoming: America/Denver
US-AS American Samoa: Pacific/Pago_Pago
US-GU Guam: Pacific/Guam
US-MP Northern Mariana Islands: Pacific/Saipan
US-PR Puerto Rico: America/Puerto_Rico
US-VI Virgin Islands: America/St_Thomas
CA-AB Alberta: America/Edmonton
CA-BC British Columbia: America/Vancouver America/Edmonton America/Dawson_Creek
CA-MB Manitoba: America/Winnipeg
CA-NB New Brunswick: America/Moncton
CA-NL Newfoundland and Labrador: America/St_Johns America/Goose_Bay
CA-NS Nova Scotia: America/Halifax
CA-NT Northwest Territories: America/Edmonton
CA-NU Nunavut: America/Iqaluit America/Rankin_Inlet America/Cambridge_Bay America/Atikokan
CA-ON Ontario: America/Toronto America/Winnipeg America/Atikokan
CA-PE Prince Edward Island: America/Halifax
CA-QC Quebec: America/Toronto America/Blanc-Sablon America/Halifax
CA-SK Saskatchewan: America/Regina America/Edmonton America/Winnipeg
CA-YT Yukon: America/Whitehorse
AU-ACT Australian Capital Territory: Australia/Sydney
AU-NSW New South Wales: Australia/Sydney Australia/Adelaide Australia/Lord_Howe
AU-NT Northern Territory: Australia/Darwin
AU-QLD Queensland: Australia/Brisbane
AU-SA South Australia: Australia/Adelaide
AU-TAS Tasmania: Australia/Hobart
AU-VIC Victoria: Australia/Melbourne
AU-WA Western Australia: Australia/Perth Australia/Eucla
DE-BW Baden-Württemberg: Europe/Berlin
DE-BY Bayern: Europe/Berlin
DE-BE Berlin: Europe/Berlin
DE-BB Brandenburg: Europe/Berlin
DE-HB Bremen: Europe/Berlin
DE-HH Hamburg: Europe/Berlin
DE-HE Hessen: Europe/Berlin
DE-MV Mecklenburg-Vorpommern: Europe/Berlin
DE-NI Niedersachsen: Europe/Berlin
DE-NW Nordrhein-Westfalen: Europe/Berlin
DE-RP Rheinland-Pfalz: Europe/Berlin
DE-SL Saarland: Europe/Berlin
DE-SN Sachsen: Europe/Berlin
DE-ST Sachsen-Anhalt: Europe/Berlin
DE-SH Schleswig-Holstein: Europe/Berlin
DE-TH Thüringen: Europe/Berlin
"""

# Other spellings of states, each by its country.
_STATES_TOO: Mapping[str, str] = {
    "US Washington D.C.": "US-DC",
    "US Washington DC": "US-DC",
    "US Washington State": "US-WA",
    "US US Virgin Islands": "US-VI",
    "CA Québec": "CA-QC",
    "CA Newfoundland": "CA-NL",
    "DE Bavaria": "DE-BY",
    "DE Hesse": "DE-HE",
    "DE Lower Saxony": "DE-NI",
    "DE North Rhine-Westphalia": "DE-NW",
    "DE Rhineland-Palatinate": "DE-RP",
    "DE Saxony": "DE-SN",
    "DE Saxony-Anhalt": "DE-ST",
    "DE Thuringia": "DE-TH",
}

# Other names of countries than `iso3166.tab` has: long, own and three-letter ones.
_COUNTRIES_TOO: Mapping[str, str] = {
    "AT": "AUT|Österreich",
    "AU": "AUS",
    "BE": "BEL|België|Belgique|Belgien",
    "BR": "BRA|Brasil",
    "CA": "CAN",
    "CH": "CHE|Schweiz|Suisse|Svizzera",
    "CN": "CHN|People's Republic of China",
    "CY": "CYP",
    "CZ": "CZE|Czechia|Česko",
    "DE": "DEU|Deutschland|Federal Republic of Germany",
    "DK": "DNK|Danmark",
    "EE": "EST|Eesti",
    "ES": "ESP|España",
    "FI": "FIN|Suomi",
    "FR": "FRA|République française",
    "GB": "GBR|UK|United Kingdom|Great Britain|England|Scotland|Wales|Northern Ireland"
    "|United Kingdom of Great Britain and Northern Ireland",
    "GR": "GRC|EL|Hellas",
    "HR": "HRV|Hrvatska",
    "HU": "HUN|Magyarország",
    "IE": "IRL|Éire|Republic of Ireland",
    "IN": "IND|Bharat",
    "IT": "ITA|Italia",
    "JP": "JPN",
    "KR": "KOR|South Korea|Republic of Korea",
    "LT": "LTU|Lietuva",
    "LU": "LUX",
    "LV": "LVA|Latvija",
    "MT": "MLT",
    "MX": "MEX|México",
    "NL": "NLD|Nederland|The Netherlands|Holland",
    "NO": "NOR|Norge",
    "NZ": "NZL|Aotearoa",
    "PL": "POL|Polska",
    "PT": "PRT",
    "RO": "ROU|România",
    "RU": "RUS|Russian Federation",
    "SE": "SWE|Sverige",
    "SI": "SVN|Slovenija",
    "SK": "SVK|Slovensko",
    "TR": "TUR|Türkiye",
    "UA": "UKR|Ukraina",
    "US": "USA|United States of America|U.S.|U.S.A.",
}

# Countries of their own in ISO 3166-1 that are states of the USA as well, and those in which the
# law of another country holds.
_UNDER_US = ("AS", "GU", "MP", "PR", "VI")
_ALSO_UNDER: Mapping[str, tuple[str, ...]] = {
    **{code: ("US", f"US-{code}") for code in _UNDER_US},
    **dict.fromkeys(("GF", "GP", "MQ", "RE", "YT"), ("FR",)),
    "AX": ("FI",),
}

# The area codes of each state, and those that several share.
_AREA_CODES = """
US-AL 205 251 256 334 659 938
US-AK 907
US-AZ 480 520 602 623 928
US-AR 327 479 501 870
US-CA 209 213 279 310 323 341 350 369 408 415 424 442 510 530 559 562 619 626 628 650 657 661 669
US-CA 707 714 738 747 760 805 818 820 831 840 858 909 916 925 949 951
US-CO 303 719 720 748 970 983
US-CT 203 475 860 959
US-DC 202 771
US-DE 302
US-FL 239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904 941 954
US-GA 229 404 470 478 678 706 762 770 912 943
US-HI 808
US-IA 319 515 563 641 712
US-ID 208 986
US-IL 217 224 309 312 331 447 464 618 630 708 730 773 779 815 847 872
US-IN 219 260 317 463 574 765 812 930
US-KS 316 620 785 913
US-KY 270 364 502 606 859
US-LA 225 318 337 504 985
US-MA 339 351 413 508 617 774 781 857 978
US-MD 227 240 301 410 443 667
US-ME 207
US-MI 231 248 269 313 517 586 616 734 810 906 947 989
US-MN 218 320 507 612 651 763 952
US-MO 235 314 417 557 573 636 660 816 975
US-MS 228 601 662 769
US-MT 406
US-NC 252 336 472 704 743 828 910 919 980 984
US-ND 701
US-NE 308 402 531
US-NH 603
US-NJ 201 551 609 640 732 848 856 862 908 973
US-NM 505 575
US-NV 702 725 775
US-NY 212 315 329 332 347 363 516 518 585 607 631 646 680 716 718 838 845 914 917 929 934
US-OH 216 220 234 283 326 330 380 419 440 513 567 614 740 937
US-OK 405 539 572 580 918
US-OR 458 503 541 971
US-PA 215 223 267 272 412 445 484 570 582 610 717 724 814 835 878
US-RI 401
US-SC 803 821 839 843 854 864
US-SD 605
US-TN 423 615 629 731 865 901 931
US-TX 210 214 254 281 325 346 361 409 430 432 469 512 682 713 726 737 806 817 830 832 903 915 936
US-TX 940 945 956 972 979
US-UT 385 435 801
US-VA 276 434 540 571 686 703 757 804 826 948
US-VT 802
US-WA 206 253 360 425 509 564
US-WI 262 274 353 414 534 608 715 920
US-WV 304 681
US-WY 307
CA-AB 368 403 587 780 825
CA-BC 236 250 257 604 672 778
CA-MB 204 431 584
CA-NB 428 506
CA-NL 709 879
CA-NS 782 902
CA-NT 867
CA-NU 867
CA-ON 226 249 289 343 365 382 416 437 519 548 613 647 683 705 742 753 807 905 942
CA-PE 782 902
CA-QC 263 273 354 367 418 438 450 468 514 579 581 819 873
CA-SK 306 474 639
CA-YT 867
"""

_CODE = re.compile(r"([A-Z]{2})(?:-[A-Z0-9]{1,3})?", re.ASCII)


@lru_cache(CACHED_MAX)
def country_of(name: str) -> str | None:
    """The ISO 3166-1 code of a country, by code or name; None where it is not known for sure."""
    return _countries().get(_folded(name))


@lru_cache(CACHED_MAX)
def state_of(country: str, name: str) -> str | None:
    """The ISO 3166-2 code of a state of that country, by code or name, or None.

    A full code (`FR-IDF`) is taken for one in countries whose states are not listed here.
    """
    known = _states()
    code = name.strip().upper()[:TEXT_MAX]
    for full in (code, f"{country}-{code}"):
        if full in known and full.startswith(f"{country}-"):
            return full
    by_name = _state_names().get((country, _folded(name)))
    if by_name is not None:
        return by_name
    return code if code.startswith(f"{country}-") and is_code(code) else None


@lru_cache(CACHED_MAX)
def is_code(code: str) -> bool:
    """Whether this is a country, or a state of one: a listed one where its states are listed."""
    match = _CODE.fullmatch(code)
    if match is None or match[1] not in _countries().values():
        return False
    listed = {state[:2] for state in _states()}
    return code == match[1] or match[1] not in listed or code in _states()


@lru_cache(CACHED_MAX)
def codes_of(country: str, state: str | None = None) -> tuple[str, ...]:
    """All whose law holds in a state or country: `US-FL` is `US` too, and so is `PR`."""
    if state is None:
        return (country, *_ALSO_UNDER.get(country, ()))
    territory = (state[3:],) if country == "US" and state[3:] in _UNDER_US else ()
    return (country, state, *territory)


@lru_cache(CACHED_MAX)
def zones_of(code: str) -> tuple[str, ...]:
    """All time zones of a state, or else of its country, by IANA name."""
    return _states().get(code) or _country_zones().get(code[:2], ())


@lru_cache(CACHED_MAX)
def states_of_number(number: str) -> tuple[str, ...]:
    """The states of the area code of an E.164 number of North America; none for others."""
    return _area_codes().get(number[2:5], ()) if number.startswith("+1") else ()


def _folded(name: str) -> str:
    """One spelling of a name: no case, accents or punctuation."""
    apart = unicodedata.normalize("NFKD", name[:TEXT_MAX].casefold())
    plain = "".join(c for c in apart if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", plain.replace("&", " and ")))


@lru_cache(1)
def _countries() -> Mapping[str, str]:
    """Country codes by folded code and name."""
    found: dict[str, str] = {}
    for code, name in _rows("iso3166.tab"):
        found[_folded(code)] = code
        found[_folded(name)] = code
    for code, names in _COUNTRIES_TOO.items():
        found |= {_folded(name): code for name in names.split("|")}
    return found


@lru_cache(1)
def _country_zones() -> Mapping[str, tuple[str, ...]]:
    """The zones of each country: those of its states, where they are listed."""
    found: dict[str, tuple[str, ...]] = {}
    for code, _, name, *_ in _rows("zone.tab"):
        found[code] = (*found.get(code, ()), name)
    stated: dict[str, tuple[str, ...]] = {}
    for state, zones in _states().items():
        if state[3:] not in _UNDER_US:
            stated[state[:2]] = (*stated.get(state[:2], ()), *zones)
    return found | {code: tuple(dict.fromkeys(zones)) for code, zones in stated.items()}


def _rows(table: str) -> list[list[str]]:
    text = files("tzdata.zoneinfo").joinpath(table).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


@lru_cache(1)
def _states() -> Mapping[str, tuple[str, ...]]:
    """The zones of each listed state."""
    parts = (line.partition(": ") for line in _STATES.strip().splitlines())
    return {head.split(" ")[0]: tuple(zones.split()) for head, _, zones in parts}


@lru_cache(1)
def _state_names() -> Mapping[tuple[str, str], str]:
    """State codes by country and folded name."""
    found = {}
    for line in _STATES.strip().splitlines():
        code, _, name = line.partition(":")[0].partition(" ")
        found[code[:2], _folded(name)] = code
    for named, code in _STATES_TOO.items():
        country, _, name = named.partition(" ")
        found[country, _folded(name)] = code
    return found


@lru_cache(1)
def _area_codes() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in _AREA_CODES.strip().splitlines():
        state, *codes = line.split()
        for code in codes:
            found[code] = (*found.get(code, ()), state)
    return found
