import Foundation
import Testing

@testable import Dormouse

/// The committed conversations that every language must reproduce: `fixtures/transcripts.json`.
struct Transcripts: Decodable {
  let conversations: [Conversation]

  static func read() throws -> Transcripts {
    // ios/Tests/DormouseTests/Transcripts.swift
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<4 { root.deleteLastPathComponent() }
    let file = root.appendingPathComponent("fixtures/transcripts.json")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Transcripts.self, from: Data(contentsOf: file))
  }
}

struct Conversation: Decodable, Sendable, CustomTestStringConvertible {
  let name: String
  let model: String
  let system: String?
  let contextLength: Int?
  let whenFull: String?
  let turns: [Turn]
  let history: [String]

  var testDescription: String { name }
}

struct Turn: Decodable, Sendable {
  enum Action: String, Decodable {
    case send, regenerate, edit, tool, complete
  }

  let action: Action
  let text: String?
  let index: Int?
  let options: Options?
  let events: [Expected]?
  let error: String?

  struct Options: Decodable, Sendable {
    let temperature: Float?
    let topK: Int?
    let topP: Float?
    let minP: Float?
    let repetitionPenalty: Float?
    let presencePenalty: Float?
    let frequencyPenalty: Float?
    let penaltyLastN: Int?
    let seed: UInt64?
    let maxTokens: Int?
    let stop: [String]?
    let weatherTool: Bool?
    let thinking: Bool?
  }

  /// As the API takes them. What is not told has the API's own default; without a seed the
  /// likeliest token is taken.
  var replyOptions: ReplyOptions {
    var out = ReplyOptions()
    let given = options
    if given?.seed == nil { out.sampler.temperature = 0 }
    out.sampler.temperature = given?.temperature ?? out.sampler.temperature
    out.sampler.topK = given?.topK ?? out.sampler.topK
    out.sampler.topP = given?.topP ?? out.sampler.topP
    out.sampler.minP = given?.minP ?? out.sampler.minP
    out.sampler.repetitionPenalty = given?.repetitionPenalty ?? out.sampler.repetitionPenalty
    out.sampler.presencePenalty = given?.presencePenalty ?? out.sampler.presencePenalty
    out.sampler.frequencyPenalty = given?.frequencyPenalty ?? out.sampler.frequencyPenalty
    out.sampler.penaltyLastN = given?.penaltyLastN ?? out.sampler.penaltyLastN
    out.sampler.seed = given?.seed
    out.maxTokens = given?.maxTokens
    out.stop = given?.stop ?? []
    out.tools = given?.weatherTool == true ? [weather] : []
    out.thinking = given?.thinking
    return out
  }
}

/// An event as the transcript has it; of the end, what is the same on every machine.
struct Expected: Decodable, Sendable, Hashable {
  struct Call: Decodable, Sendable, Hashable {
    let name: String
    let arguments: String
  }

  struct Done: Decodable, Sendable, Hashable {
    let finishReason: String
    let promptTokens: Int
    let reusedTokens: Int
    let generatedTokens: Int
  }

  var token: String?
  var reasoning: String?
  var toolCall: Call?
  var done: Done?

  init(_ event: Event) {
    switch event {
    case .token(let text): token = text
    case .reasoning(let text): reasoning = text
    case .toolCall(let call): toolCall = Call(name: call.name, arguments: call.arguments)
    case .throttled: break
    case .done(let metrics, let finishReason, _):
      done = Done(
        finishReason: firstUpper("\(finishReason)"), promptTokens: metrics.promptTokens,
        reusedTokens: metrics.reusedTokens, generatedTokens: metrics.generatedTokens)
    }
  }
}

/// The name of an error's kind as the transcripts have it.
func kind(of error: DormouseError) -> String {
  firstUpper(Mirror(reflecting: error).children.first?.label ?? "\(error)")
}

private func firstUpper(_ name: String) -> String {
  name.prefix(1).uppercased() + name.dropFirst()
}
