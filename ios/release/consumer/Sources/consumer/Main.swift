import Dormouse

/// What an app does, in ten lines: `consumer MODEL`.
@main
struct Main {
  static func main() async throws {
    let model = try await Dormouse.load(.path(CommandLine.arguments[1]))
    let chat = try model.newChat(system: "You answer briefly.")
    for try await event in chat.send("Why do dormice sleep?") {
      switch event {
      case .token(let text): print(text, terminator: "")
      case .done(_, let finishReason, _): print(" [\(finishReason)]")
      case .reasoning, .toolCall, .throttled: break
      }
    }
  }
}
