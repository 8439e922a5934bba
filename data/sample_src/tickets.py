"""Support tickets of 2025: id, date, product, subject, body."""

import json

FIELDS = ("id", "date", "product", "subject", "body")
TICKETS: list[tuple[str, str, str, str, str]] = [
    ("T-25014", "2025-01-09", "Brisa 4", "Gusts of 41 m/s on a calm day",
     "Customer reports storm readings without wind. Photograph shows a spider thread across the head. Removed it, "
     "readings normal. Closed."),
    ("T-25037", "2025-01-22", "Relay Hub", "Hub restarts every night at 2:10",
     "The router of the customer changes the channel at this hour. Fixed channel 6 in the router, no restart for a "
     "week. Closed."),
    ("T-25061", "2025-02-04", "Gable", "Vent opens in fog",
     "The humidity limit had been set to 95 percent with action open. Changed the action to alarm only. Closed."),
    ("T-25088", "2025-02-17", "Sprig", "Three sensors vanish in the evening",
     "They vanish when the grow lamps go on. Lamp drivers of the brand Heliox disturb the radio. Customer put ferrite "
     "rings on the cables, all three are back. Closed."),
    ("T-25102", "2025-02-26", "Brisa 4", "Console cannot find the network",
     "The name of the network contains an emoji. Firmware 4.6 cannot show it. Customer renamed the network to "
     "Kestrel. Reported to engineering as bug 1187."),
    ("T-25119", "2025-03-05", "Loam", "Probe reads 0 percent in peat",
     "Pure peat is too loose to touch the zones. Advised slurry and three days of waiting. Reads 41 percent now. "
     "Closed."),
    ("T-25146", "2025-03-18", "Brisa 4", "Rain recorded at 7:00 each morning",
     "The lawn sprinkler of the neighbour reaches the gauge. Customer moved the mast by four metres. Closed."),
    ("T-25160", "2025-03-27", "Relay Hub", "Export to spreadsheet shows dates as numbers",
     "Column was formatted as general. Sent the guide for the import. Closed."),
    ("T-25183", "2025-04-08", "Sprig", "Battery empty after five months",
     "Interval had been set to 20 seconds by a consultant. Set back to five minutes and sent a free cell. Closed."),
    ("T-25201", "2025-04-15", "Gable", "Motor hums but does not move",
     "Phase and neutral of motor 2 exchanged. The electrician of the customer corrected it. Closed."),
    ("T-25222", "2025-04-29", "Brisa 4", "Which mast for a museum roof?",
     "Town museum of Elverwick wants to put the station on a listed building. Recommended a ballasted stand without "
     "holes, 90 kg of paving slabs. Customer will ask the monument office."),
    ("T-25248", "2025-05-12", "Loam", "Water in coupling, Alentejo",
     "Two of six couplings wet after one year. Photographs show correct assembly. Replaced. Possible pattern, told "
     "Tomasz."),
    ("T-25267", "2025-05-21", "Brisa 4", "Temperature 3 degrees too high",
     "Shield stands 40 cm above a dark gravel roof. Advised 2 metres. Customer will build a taller stand in summer."),
    ("T-25290", "2025-06-03", "Relay Hub", "Violet light for two days",
     "The provider had a fault. All readings arrived afterwards. Customer was pleased. Closed."),
    ("T-25311", "2025-06-11", "Sprig", "Sensor eaten by a goat",
     "Not covered by the warranty, but we laughed so much that Dalia sent a new one. Goat is well. Closed."),
    ("T-25334", "2025-06-24", "Brisa 4", "Error E18 in a heat wave",
     "Fan full of poplar fluff. Customer brushed it out in ten minutes. Closed."),
    ("T-25352", "2025-07-02", "Gable", "Vents do not close in storm",
     "No Brisa in the list of the hub, because the customer had bought the hub second-hand and the old owner's "
     "station was still entered. Removed and paired again. Closed."),
    ("T-25377", "2025-07-16", "Loam", "Water in coupling, Murcia",
     "Four of ten wet. Customer is a contractor and angry. Replaced all ten and offered a visit. Escalated."),
    ("T-25391", "2025-07-25", "Brisa 4", "Modbus values wrong by factor ten",
     "Controller read tenths as whole numbers. Sent the register table. The integrator, Sollberg Automation, "
     "corrected its template. Closed."),
    ("T-25418", "2025-08-07", "Relay Hub", "Can the data stay on the farm?",
     "Agricultural college does not allow cloud services. Explained the local mode. They ordered six hubs. Closed."),
    ("T-25440", "2025-08-19", "Sprig", "Readings differ between two sensors on one hook",
     "Difference of 0.3 degrees is within the tolerance of both. Explained. Closed."),
    ("T-25466", "2025-09-01", "Brisa 4", "Clamp cracked while mounting",
     "Dealer Hagebro used an impact driver. Sent a new clamp as goodwill and the page of the manual. Fourth case from "
     "this dealer."),
    ("T-25482", "2025-09-10", "Brisa 4", "Sensor data for a court case",
     "A lawyer asks for proof of the wind on 2 August. Explained that our stations are not officially verified and "
     "named the state weather service. Closed."),
    ("T-25503", "2025-09-23", "Gable", "Green button has fallen out",
     "Known fault of controllers made in week 12 of 2025. Sent repair set GB-3, fitted by customer. Closed."),
    ("T-25527", "2025-10-06", "Brisa 4", "Wasps in the rain gauge",
     "Nest removed in the evening, funnel cleaned. Cap RC-2 is out of stock, put on the waiting list."),
]  # fmt: skip


def jsonl() -> bytes:
    """Return one record a line."""
    lines = (json.dumps(dict(zip(FIELDS, ticket, strict=True)), ensure_ascii=False) for ticket in TICKETS)
    return "".join(line + "\n" for line in lines).encode()
