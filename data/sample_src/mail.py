"""A mail thread in one message, newest first, as mail programs show it."""

from email.message import EmailMessage
from email.policy import default

LATEST = """\
Dear all,

thank you for the clear numbers. My decision: from batch 2546 onwards all Loam probes get the black polyurethane \
cable from Ketterby. The price of the probes stays the same until the end of the year.

The PVC cable that we still have is used up for the demonstration sets and for indoor displays only. It must not \
go to growers any more. Birgit, please mark the drums.

Dalia, customers with water in the coupling get a new coupling and a new probe free of charge, even if the warranty \
has ended, provided that the probe was bought after 1 January 2023. Please keep a list; I want to see it on 15 December.

Regards
Teodora
"""

EARLIER = [
    (
        "Hamish Orrell <h.orrell@fernholt.example>",
        "Wednesday, 17 September 2025 16:42",
        """\
Ketterby has answered. Polyurethane, 5.1 mm, black: 1.35 euros per metre from 5000 metres, delivery in five weeks. \
We pay 0.92 for the PVC today. For a probe with five metres this makes a difference of 2.15 euros. Tools and \
crimping stay as they are.

The second offer, from Brandt & Moss, was 1.28, but they want an order of 20,000 metres, which is three years' worth.

Hamish
""",
    ),
    (
        "Tomasz Verhoeven <t.verhoeven@fernholt.example>",
        "Tuesday, 16 September 2025 11:05",
        """\
I cut open fourteen of the returned couplings. In twelve of them the seal was fine and the water had come along the \
cable: the PVC jacket shrinks by about two percent after a summer in the sun, lets go of the resin, and the water \
creeps along the wires.

The polyurethane sample has now spent 1000 hours in the ultraviolet cabinet and shrank by less than 0.2 percent. I am \
sure enough to recommend it.

Tomasz
""",
    ),
    (
        "Dalia Renswick <d.renswick@fernholt.example>",
        "Monday, 15 September 2025 09:18",
        """\
Good morning Tomasz, good morning Hamish,

we now have 57 cases of water in the LC-5 coupling this quarter, nearly all from the south of Europe. The customers \
followed the instructions; I have seen the photographs. Something else must be wrong. Can we talk about it this week?

Dalia
""",
    ),
]


def eml() -> bytes:
    """Return the newest message, with the earlier ones quoted below."""
    message = EmailMessage(policy=default)
    message["From"] = "Teodora Lindqvist <t.lindqvist@fernholt.example>"
    message["To"] = "Dalia Renswick <d.renswick@fernholt.example>, Tomasz Verhoeven <t.verhoeven@fernholt.example>"
    message["Cc"] = "Hamish Orrell <h.orrell@fernholt.example>, Birgit Achterfeld <b.achterfeld@fernholt.example>"
    message["Subject"] = "Re: Water in the Loam coupling - which cable?"
    message["Date"] = "Thu, 18 Sep 2025 08:31:00 +0100"
    message["Message-ID"] = "<20250918-0831.7c41@fernholt.example>"
    message["In-Reply-To"] = "<20250917-1642.19be@fernholt.example>"
    message["References"] = (
        "<20250915-0918.02aa@fernholt.example> <20250916-1105.55d0@fernholt.example> "
        "<20250917-1642.19be@fernholt.example>"
    )
    parts = [LATEST]
    for sender, sent, text in EARLIER:
        parts.append(
            f"-----Original Message-----\nFrom: {sender}\nSent: {sent}\n"
            f"Subject: Re: Water in the Loam coupling - which cable?\n\n{text}"
        )
    message.set_content("\n".join(parts), charset="utf-8", cte="quoted-printable")
    return message.as_bytes()
