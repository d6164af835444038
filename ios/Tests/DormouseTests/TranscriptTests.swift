import Foundation
import Testing

@testable import Dormouse

extension All {
  @Suite struct TranscriptTests {
    /// Tokens, events, finish reasons and history are the same in every language.
    @Test(arguments: try Transcripts.read().conversations)
    func aConversationIsTheSameInEveryLanguage(_ conversation: Conversation) async throws {
      guard let source = try source(of: conversation.model) else {
        print("skipped \(conversation.name): DORMOUSE_MODELS is not set")
        return
      }
      let model = try await Dormouse.load(source)
      let chat = try model.newChat(
        options: ChatOptions(
          system: conversation.system, contextLength: conversation.contextLength,
          whenFull: conversation.whenFull == "shift" ? .shift() : .stop))
      for (number, turn) in conversation.turns.enumerated() {
        let stream = try stream(turn, model, chat)
        if let expected = turn.error {
          let error = try await failure { try await joined(stream) }
          #expect(kind(of: error) == expected, "turn \(number)")
        } else {
          let events = try await joined(stream).map(Expected.init)
          #expect(events == turn.events, "turn \(number)")
        }
      }
      let history = try chat.messages.map { "\($0.role): \($0.text)" }
      #expect(history == conversation.history)
    }

    private func stream(_ turn: Turn, _ model: Model, _ chat: Chat) throws -> ReplyStream {
      let options = turn.replyOptions
      switch turn.action {
      case .send:
        return chat.send(try #require(turn.text), options: options)
      case .regenerate:
        return chat.regenerate(options: options)
      case .edit:
        return chat.edit(
          try #require(turn.index), text: try #require(turn.text), options: options)
      case .tool:
        return chat.send(.tool(try #require(turn.text)), options: options)
      case .complete:
        return model.complete(try #require(turn.text), options: options)
      }
    }

    /// A tiny model must be there; of the others nothing is known where no folder is named.
    private func source(of name: String) throws -> ModelSource? {
      if ["tiny.gguf", "scripted.gguf"].contains(name) { return try tinyModel(name) }
      guard let folder = ProcessInfo.processInfo.environment["DORMOUSE_MODELS"] else { return nil }
      return .path("\(folder)/\(name)")
    }
  }
}
