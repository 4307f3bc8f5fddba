"""What an operator deals with: configuration, log events, readiness and the watchdog, starting and stopping."""
