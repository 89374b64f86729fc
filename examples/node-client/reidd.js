// A client of the reidd daemon: one request, one reply. Written from docs/protocol.md alone.

import { randomUUID } from "node:crypto"
import { Request } from "zeromq"

export class ReiddError extends Error {
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

export class Client {
  #socket
  #name = randomUUID()
  #count = 0
  #timeoutMs

  constructor(endpoint, { timeoutMs = 5000 } = {}) {
    this.#timeoutMs = timeoutMs
    // Relaxed and correlated, or a daemon's restart would leave the socket waiting for ever.
    this.#socket = new Request({ relaxed: true, correlate: true, receiveTimeout: timeoutMs, linger: 0 })
    this.#socket.connect(endpoint)
  }

  async ask(op, fields = {}, frames = []) {
    // Unlike any other program's, nor this one's when it runs again: the daemon makes a change of one name only once.
    const request = `${this.#name}-${++this.#count}`
    const header = { op, v: 1, request, deadline_ms: Math.floor(this.#timeoutMs * 0.9), ...fields }
    await this.#socket.send([JSON.stringify(header), ...frames])
    const [answer, ...payload] = await this.#socket.receive()
    const reply = JSON.parse(answer.toString())
    if (reply.reply === "error") throw new ReiddError(reply.code, reply.message)
    return { ...reply, payload }
  }

  // `image` is the content of a JPEG or PNG file.
  async addToGallery(image, id) {
    return this.ask("add_to_gallery", { id, parts: [{ kind: "encoded" }] }, [image])
  }

  async reIdImage(image, topK = 1) {
    const fields = { parts: [{ kind: "encoded" }], top_k: topK, matrix: false }
    return (await this.ask("re_id_image", fields, [image])).results[0]
  }

  close() {
    this.#socket.close()
  }
}
