#!/bin/sh
# Ends with 0 when the address answers 200, and with nothing else: a redirect is no answer.
[ "$(curl --silent --insecure --max-time 1 --output /dev/null --write-out '%{http_code}' "$1")" = 200 ]
