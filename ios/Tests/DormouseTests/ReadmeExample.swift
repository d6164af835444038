import Dormouse

func ask(_ path: String, _ question: String) async throws {
  let model = try await Dormouse.load(.path(path))
  let chat = try model.newChat(system: "You are a helpful dormouse.")
  for try await event in chat.send(question) {
    switch event {
    case .token(let text): print(text, terminator: "")
    case .done(let metrics, _, _): print("\n\(metrics.decodeRate ?? 0) tokens/s")
    default: break
    }
  }
}
