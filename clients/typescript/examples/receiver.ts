/** Receives the deliveries of a trigger, and believes those that are signed. */
import { createServer } from "node:http";

import { Receiver } from "tidewire";

const { SECRET, PORT = "3000" } = process.env;
if (SECRET === undefined) throw new Error("set SECRET to the trigger's secret");
const receiver = new Receiver(SECRET);

const server = createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray());
  try {
    const delivery = receiver.receive(body, request.headers);
    console.log(`${delivery.id} attempt ${delivery.attempt}: ${JSON.stringify(delivery.payload)}`);
    response.writeHead(204).end();
  } catch {
    response.writeHead(401).end();
  }
});
server.listen(Number(PORT), "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object") console.log(`listening on http://127.0.0.1:${address?.port}`);
});
