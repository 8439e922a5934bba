"""The rows of the price list and of the inventory."""

Row = list[str | int | float]

PRICE_HEAD = ["Article", "Name", "Net price EUR", "Dealer discount", "Smallest order", "Remarks"]
PRODUCTS: list[Row] = [
    ["BR-4000", "Brisa 4 weather station, complete", 689.00, "22 %", 1, "Prices valid from 1 January 2026"],
    ["BR-4010", "Brisa 4 with calibration certificate", 829.00, "15 %", 1, "Allow three weeks for the certificate"],
    ["BR-4020", "Brisa 4 school set", 549.00, "none", 1, "Schools and museums only, with teaching booklet"],
    ["CN-40", "Second console for Brisa 4", 179.00, "22 %", 1, "Shows the same mast unit in another room"],
    ["IC-485", "Interface card Modbus RTU", 94.00, "18 %", 1, "Fits consoles from firmware 4.6"],
    ["RP-1", "Repeater for Brisa 4", 72.50, "18 %", 1, "Mains adapter included"],
    ["HT-15", "Funnel heater 15 W", 58.00, "18 %", 1, "Supply PS-24 sold separately"],
    ["PS-24", "Supply for outdoor use, 24 V, 40 W", 46.00, "18 %", 1, "Feeds up to two heaters"],
    ["SP-20", "Sprig greenhouse sensor", 64.00, "25 %", 1, "Revision D with printed antenna from March 2026"],
    ["SP-20X10", "Sprig greenhouse sensor, box of ten", 575.00, "25 %", 1, "Delivered in returnable crate"],
    ["LM-30", "Loam soil probe 30 cm, cable 5 m", 119.00, "25 %", 1, "Polyurethane cable"],
    ["LM-31", "Loam soil probe 30 cm, cable 15 m", 142.00, "25 %", 1, "Made to order, ten working days"],
    ["LM-60", "Loam soil probe 60 cm, cable 10 m", 198.00, "20 %", 2, "New in 2026, four zones"],
    ["LC-5", "Sealed coupling for Loam cable", 14.80, "25 %", 5, "Resin bag included"],
    ["GC-1", "Gable vent controller, one motor", 265.00, "20 %", 1, "Installation by an electrician required"],
    ["GC-2", "Gable vent controller, two motors", 348.00, "20 %", 1, "Motors on separate circuits"],
    ["RH-2", "Relay Hub", 210.00, "25 %", 1, "Mains adapter and antenna included"],
    ["RH-2M", "Relay Hub with mobile radio", 295.00, "20 %", 1, "SIM card not included"],
    ["SV-01", "Remote set-up by telephone, one hour", 78.00, "none", 1, "Booked through the support desk"],
    ["SV-02", "Training day at your site", 940.00, "none", 1, "Up to eight people, plus travel"],
]

SPARE_HEAD = ["Article", "Name", "Net price EUR", "Dealer discount", "Smallest order", "Fits"]
SPARES: list[Row] = [
    ["BT-064", "Battery pack 6.4 V 1500 mAh", 39.50, "20 %", 1, "Brisa 4; dangerous goods, no air freight to islands"],
    ["HE-3", "Humidity element", 21.90, "20 %", 1, "Brisa 4"],
    ["RF-6", "Filter for rain gauge, bag of three", 6.40, "30 %", 1, "Brisa 4 and Brisa 3"],
    ["FN-25", "Fan for radiation shield", 17.20, "20 %", 1, "Brisa 4"],
    ["BD-4", "Battery door with seal", 8.90, "30 %", 1, "Brisa 4 from serial number B4C"],
    ["MK-12", "Mast clamp kit", 24.00, "30 %", 1, "Brisa 3 and Brisa 4"],
    ["BS-08", "Bird spikes, ring of eight", 7.50, "30 %", 2, "Brisa 4"],
    ["DB-1", "Drip bottle", 19.00, "20 %", 1, "All rain gauges with 200 square centimetres"],
    ["RC-2", "Rain gauge cap", 4.20, "30 %", 5, "Brisa 4"],
    ["GR-7", "Toothed rack 700 mm", 33.60, "20 %", 2, "Gable; steel, zinc plated"],
    ["WC-20", "White cap", 1.95, "30 %", 10, "Sprig, all revisions"],
    ["PR-30", "Steel pilot rod", 27.50, "20 %", 1, "Loam 30 cm; not for the 60 cm probe"],
    ["AN-868", "Outdoor antenna with 3 m cable", 44.00, "20 %", 1, "Relay Hub RH-2 and RH-2M"],
]

STOCK_HEAD = ["article", "description", "store", "bin", "quantity", "reorder_at", "counted_on", "counted_by", "remark"]
_STOCK = """
BR-410|Mast unit Brisa 4|Marrick Bridge|A-01|84|40|2025-10-30|H. Orrell|
CN-40|Console for Brisa 4|Marrick Bridge|A-02|112|50|2025-10-30|H. Orrell|
SP-022|Solar panel 2.2 W|Marrick Bridge|A-04|67|60|2025-10-30|H. Orrell|
BT-064|Battery pack|Grünaubach|R3-1|52|30|2025-10-29|B. Achterfeld|fireproof cupboard
HE-3|Humidity element, Castellane|Grünaubach|C-11|285|300|2025-10-29|B. Achterfeld|delivery delayed
HE-3N|Humidity element, Nordvik|Grünaubach|C-12|500|100|2025-10-29|B. Achterfeld|for Sprig only
RF-6|Filter for rain gauge|Marrick Bridge|B-07|430|150|2025-10-30|P. Oduya|
FN-25|Fan for radiation shield|Marrick Bridge|B-08|38|45|2025-10-30|P. Oduya|ordered 21 October
BD-4|Battery door with seal|Marrick Bridge|B-09|95|40|2025-10-30|P. Oduya|
MK-12|Mast clamp kit|Marrick Bridge|B-10|140|60|2025-10-30|P. Oduya|red stickers missing on 90 bags
BS-08|Bird spikes|Marrick Bridge|B-11|210|80|2025-10-30|P. Oduya|
DB-1|Drip bottle|Marrick Bridge|B-12|17|10|2025-10-30|P. Oduya|
RC-2|Rain gauge cap|Marrick Bridge|B-13|0|50|2025-10-30|P. Oduya|mould is being repaired
HT-15|Funnel heater|Marrick Bridge|B-14|63|25|2025-10-30|P. Oduya|
PS-24|Outdoor supply 24 V|Marrick Bridge|B-15|41|20|2025-10-30|P. Oduya|
IC-485|Interface card|Marrick Bridge|A-06|29|15|2025-10-30|H. Orrell|
RP-1|Repeater|Marrick Bridge|A-07|22|20|2025-10-30|H. Orrell|
SP-20|Sprig sensor rev. C|Marrick Bridge|D-01|1260|400|2025-10-30|H. Orrell|sell before rev. D
SP-20D|Sprig sensor rev. D, pilot run|Grünaubach|D-20|80|0|2025-10-29|B. Achterfeld|not released
LM-30|Loam probe, cable 5 m|Grünaubach|E-01|174|100|2025-10-29|B. Achterfeld|
LM-31|Loam probe, cable 15 m|Grünaubach|E-02|9|10|2025-10-29|B. Achterfeld|
LC-5|Sealed coupling|Grünaubach|E-05|322|120|2025-10-29|B. Achterfeld|
PVC-5|Loam cable PVC, metres|Grünaubach|E-30|3650|0|2025-10-29|B. Achterfeld|being used up
PUR-5|Loam cable polyurethane, metres|Grünaubach|E-31|5000|1500|2025-10-29|B. Achterfeld|first delivery
GC-1|Gable controller, one motor|Marrick Bridge|F-01|36|12|2025-10-30|H. Orrell|
GC-2|Gable controller, two motors|Marrick Bridge|F-02|11|8|2025-10-30|H. Orrell|
GR-7|Toothed rack 700 mm|Marrick Bridge|F-05|58|30|2025-10-30|H. Orrell|two bent, sorted out
RH-2|Relay Hub|Marrick Bridge|G-01|133|60|2025-10-30|H. Orrell|
RH-2M|Relay Hub with mobile radio|Marrick Bridge|G-02|19|20|2025-10-30|H. Orrell|
AN-868|Outdoor antenna|Marrick Bridge|G-04|47|20|2025-10-30|P. Oduya|
CR2450|Button cell|Marrick Bridge|K-03|2400|1000|2025-10-30|P. Oduya|use by 06/2031
"""
STOCK = [line.split("|") for line in _STOCK.strip().splitlines()]
