"""The autopilot's card over MAVFTP: what lies there, and its bytes; imports `intake` and below."""
