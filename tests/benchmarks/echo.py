"""A client that does nothing but answer: what the way through the broker and back costs.

``python echo.py PORT QOS``: every fiftieth message of ``plant/#`` goes back on ``echo``,
as ``<asset> <ts>``.
"""

from __future__ import annotations

import json
import sys
from itertools import count

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

EVERY = 50


def main(port: int, qos: int) -> None:
    numbers = count()
    client = Client(CallbackAPIVersion.VERSION2, client_id="", protocol=MQTTv5)

    def heard(_client: Client, _data: object, message: MQTTMessage) -> None:
        if next(numbers) % EVERY == 0:
            asset, ts = message.topic.rpartition("/")[2], json.loads(message.payload)["ts"]
            client.publish("echo", f"{asset} {ts}", qos=1)

    client.on_message = heard
    client.connect("127.0.0.1", port)
    client.subscribe("plant/#", qos=qos)
    client.loop_forever()


main(int(sys.argv[1]), int(sys.argv[2]))
