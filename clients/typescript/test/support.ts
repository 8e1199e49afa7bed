import { randomUUID } from "node:crypto";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

import { Tidewire, type Settings } from "tidewire";

/** The server to test against: `TIDEWIRE_SERVER`, with `TIDEWIRE_API_KEY`, a key of a tenant of its own. */
export function server(settings: Settings = {}): Tidewire {
  const { TIDEWIRE_SERVER: url, TIDEWIRE_API_KEY: apiKey } = process.env;
  if (url === undefined) throw new Error("TIDEWIRE_SERVER names no server");
  return new Tidewire({ url, ...(apiKey !== undefined && { apiKey }), ...settings });
}

/** A name that no other test has. */
export const fresh = () => `ts-${randomUUID()}`;

/** What `look` finds, within half a minute. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(20)) {
    const found = await look();
    if (found !== undefined) return found;
  }
  throw new Error(`not within 30 s: ${what}`);
}

/** A proxy in front of the server whose connections can be cut. */
export async function cutter() {
  const target = new URL(process.env["TIDEWIRE_SERVER"] ?? "");
  const open = new Set<Socket>();
  let connections = 0;
  const proxy = createServer((near) => {
    connections += 1;
    const far = connect(Number(target.port), target.hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
  const cut = () => {
    for (const socket of open) socket.destroy();
    open.clear();
  };
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    connections: () => connections,
    cut,
    close: () => {
      proxy.close();
      cut();
    },
  };
}
