"""Bytes in the encoding that a mail or a web page says it is in, by the names that programs really write. Pure."""

# What browsers read under these names: the declared one is the smaller brother of the one that was used.
_MEANT = {
    "us-ascii": "cp1252",
    "ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601-1989": "cp949",
    "euc-kr": "cp949",
    "korean": "cp949",
    "windows-949": "cp949",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "unicode-1-1-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "cp-850": "cp850",
    "big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
}
_OTHER_BYTES = frozenset({"utf-7", "iso-2022-jp", "iso-2022-kr", "hz"})


def declared(data: bytes, charset: str) -> str | None:
    """The text, if the data is in the encoding that goes by this name; None where it is not, or no such is known.

    UTF-8 is believed where the data holds it, whatever the name: no other encoding of letters looks like it by chance.
    """
    name = charset.strip().strip("\"'").lower()
    name = _MEANT.get(name, name)
    if name not in _OTHER_BYTES and not data.isascii():
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
    try:
        return data.decode(name).removeprefix("\ufeff")
    except (LookupError, ValueError):
        pass
    if name != "cp1252":
        return None
    # Five bytes that the code page leaves open are control characters in what browsers make of it.
    return "".join(bytes((byte,)).decode("cp1252", errors="ignore") or chr(byte) for byte in data)
