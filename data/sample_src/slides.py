"""The slides of the quarterly review: title, bullets, rows of a table."""

TITLE = "Review of the third quarter 2025"
SUBTITLE = "Fernholt Instruments - for all staff - 16 October 2025"

SLIDES: list[tuple[str, list[str], list[list[str]]]] = [
    (
        "The quarter in five lines",
        [
            "Revenue of 1.42 million euros, 11 percent more than a year ago",
            "Gross margin 46.3 percent, down by 1.8 points because of humidity elements and freight",
            "Orders in hand at the end of September: 487,000 euros",
            "Cash at the end of the quarter: 615,000 euros",
            "No accident with lost working time since 4 February",
        ],
        [],
    ),
    (
        "Units sold by product",
        [],
        [
            ["Product", "Q3 2024", "Q3 2025", "Change"],
            ["Brisa 4", "934", "1,085", "+16 %"],
            ["Sprig", "5,870", "6,420", "+9 %"],
            ["Loam", "2,450", "2,310", "-6 %"],
            ["Gable", "171", "212", "+24 %"],
            ["Relay Hub", "598", "640", "+7 %"],
        ],
    ),
    (
        "Where our customers are",
        [
            "Largest market: the Netherlands with 31 percent of revenue",
            "Germany 24 percent, United Kingdom 19 percent, France 9 percent",
            "First dealer in Portugal: Estufas do Vouga, contract signed on 2 September",
            "Largest single customer: Lower Tarn Nurseries with 6.2 percent",
        ],
        [],
    ),
    (
        "Quality and support",
        [
            "1,316 enquiries at the support desk, 83 percent answered on the same day",
            "Returns fell from 2.9 to 2.1 percent of parcels",
            "Most frequent fault: water in the cable coupling of Loam, 61 cases",
            "Mean time for a repair: 7.4 working days",
        ],
        [],
    ),
    (
        "People and workshop",
        [
            "We are now 43 colleagues, 17 of them in Grünaubach",
            "Welcome to Odile Brandreth (sales) and Kasimir Thole (firmware)",
            "The new roof in Grünaubach carries 38 kilowatts of solar panels",
            "Apprentices: two places from August 2026",
        ],
        [],
    ),
    (
        "Plans until the end of the year",
        [
            "Sprig firmware 2.4 goes to all customers on 10 November",
            "Pilot run of Sprig revision D: 80 pieces",
            "Price list 2026 is sent to dealers on 24 November",
            "Budget for the fair in February: 36,000 euros",
            "Target for the fourth quarter: 1.25 million euros",
        ],
        [],
    ),
]
