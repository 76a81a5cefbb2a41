"""The wire: embedded broker, plant simulator, Mosquitto set-up."""
