"""`python -m firmware_bridge.port`: the server of a port, as `serving` starts it."""

from firmware_bridge.port.face import main

if __name__ == "__main__":
    main()
