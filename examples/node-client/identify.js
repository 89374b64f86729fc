// Learns one person from each of two images, and asks who is on a third:
//     node identify.js ipc:///run/reidd/reidd.sock ann.jpg bob.jpg who.jpg

import { readFile } from "node:fs/promises"
import { Client } from "./reidd.js"

const [endpoint, first, second, probe] = process.argv.slice(2)
if (!probe) {
  console.error("usage: node identify.js ENDPOINT FIRST SECOND PROBE")
  process.exit(2)
}
const client = new Client(endpoint)
try {
  await client.addToGallery(await readFile(first), 1)
  await client.addToGallery(await readFile(second), 2)
  console.log(JSON.stringify(await client.reIdImage(await readFile(probe), 2)))
} catch (error) {
  console.error(`${error.code ?? "error"}: ${error.message}`)
  process.exitCode = 1
} finally {
  client.close()
}
