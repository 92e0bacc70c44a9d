// An action that waits, over HTTP with fetch. Written without type annotations, so that node 20 runs it as it is:
//   node --input-type=module - http://127.0.0.1:8750 < story.ts      (TOKEN is sent, where it is set)
const [api] = process.argv.slice(2);
const token = process.env.TOKEN;
const run = crypto.randomUUID();
const subject = `T-typescript-${run}`;
const headers = { "content-type": "application/cloudevents+json", ...(token && { authorization: `Bearer ${token}` }) };

/** Sends a request and reads its answer; anything but 200 throws: then nothing may act. */
const ask = async (path = "", body = undefined) => {
  const answer = await fetch(api + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`);
  return await answer.json();
};

/** Sends an event and gives its verdict; one that was not accepted throws. */
const publish = async (id = "", name = "", data = {}) => {
  const who = token ? {} : { actor: "user:dana" }; // with a token the server sets it
  const told = await ask("/v1/events", {
    specversion: "1.0", id: `${id}-${run}`, source: "/typescript", type: `pauseledger.${name}`, subject, ...who,
    data: { execution: run, pause: run, ...data },
  });
  console.log(told.verdict, name);
  if (told.verdict !== "accepted") throw new Error(told.reason); // a duplicate or unknown is no permission either
  return told;
};

const action = { kind: "payment", name: "refund", arguments: { cents: 500, run } };
const terms = { owner: "user:dana", fresh_for: "PT15M", side_effect: "not_happened", pending_action: action };
await publish("open", "pause.opened", terms);
const decision = await ask(`/v1/work-items/${subject}/pauses/${run}/decision`);
const granted = await publish("resume", "resume.requested", { action_digest: decision.action_digest });
const attempt = await publish("attempt", "side_effect.attempted", { fence: granted.fence });
console.log("refunded, once"); // here it acts, before attempt.valid_until
const entry = `${attempt.partition}:${attempt.offset}`;
await publish("observe", "side_effect.observed", { status: "happened", settles: entry });
await publish("close", "pause.closed", { outcome: "executed" });
export {};
