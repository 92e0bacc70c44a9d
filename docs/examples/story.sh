#!/bin/sh
# An action that waits, over HTTP with curl: sh story.sh http://127.0.0.1:8750   (TOKEN is sent, where it is set: the
# token's actor must be user:dana, whom this pause belongs to: pauseledger token new --actor user:dana --scope publish --scope read --scope review)
set -eu
api=$1 run=$(date +%s)-$$
subject=T-curl-$run
# ask PATH [curl options]: where the server asks who you are, actor and actorroles are its to set: leave them out then.
ask() { path=$1; shift; curl -sS --fail-with-body ${TOKEN:+-H "authorization: Bearer $TOKEN"} "$api$path" "$@"; }
actor() { [ -n "${TOKEN:-}" ] || printf '"actor":"user:dana",'; }
event() { # event ID TYPE DATA
  printf '{"specversion":"1.0","id":"%s-%s","source":"/curl","type":"pauseledger.%s","subject":"%s",%s"data":%s}' \
    "$1" "$run" "$2" "$subject" "$(actor)" "$3"
}
member() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"; }
verdict() { echo "$(member verdict)"; } # an answer ends without a line feed
where="\"execution\":\"$run\",\"pause\":\"$run\""

# Open the pause: structured mode, the whole event is the body.
event open pause.opened "{$where,\"owner\":\"user:dana\",\"fresh_for\":\"PT15M\",\"side_effect\":\"not_happened\",
  \"pending_action\":{\"kind\":\"payment\",\"name\":\"refund\",\"arguments\":{\"cents\":500,\"run\":\"$run\"}}}" |
  ask /v1/events -H 'content-type: application/cloudevents+json' --data-binary @- | verdict

# Request to resume exactly the action that the decision is about: binary mode, the attributes are headers.
digest=$(ask "/v1/work-items/$subject/pauses/$run/decision" | member action_digest)
who=$([ -n "${TOKEN:-}" ] || echo 'ce-actor: user:dana')
told=$(ask /v1/events -H "$who" -H 'ce-specversion: 1.0' -H "ce-id: resume-$run" -H 'ce-source: /curl' \
  -H 'ce-type: pauseledger.resume.requested' -H "ce-subject: $subject" \
  -H 'content-type: application/json' -d "{$where,\"action_digest\":\"$digest\"}")
[ "$(printf %s "$told" | member verdict)" = accepted ] || { echo "not granted: $told"; exit 1; }
fence=$(printf %s "$told" | member fence)

# Attempt with the fence. Accepted, it is the only permission to act: once, and before its valid_until.
told=$(event attempt side_effect.attempted "{$where,\"fence\":$fence}" |
  ask /v1/events -H 'content-type: application/cloudevents+json' --data-binary @-)
[ "$(printf %s "$told" | member verdict)" = accepted ] || { echo "not acting: $told"; exit 1; }
entry=$(printf %s "$told" | member partition):$(printf %s "$told" | member offset)
echo "refunded, once"

# Observe, and close: a batch, whose answers come in the same order.
{ printf '['; event observe side_effect.observed "{$where,\"status\":\"happened\",\"settles\":\"$entry\"}"
  printf ','; event close pause.closed "{$where,\"outcome\":\"executed\"}"; printf ']'; } |
  ask /v1/events -H 'content-type: application/cloudevents-batch+json' --data-binary @- | tr '{' '\n' | verdict
