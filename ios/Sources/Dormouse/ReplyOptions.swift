internal import DormouseGenerated

/// How tokens are chosen.
public struct SamplerOptions: Sendable, Hashable {
  /// How bold the choice is; 0 always takes the likeliest token.
  public var temperature: Float
  /// Chooses among so many of the likeliest; 0 switches it off.
  public var topK: Int
  /// Chooses among the likeliest that together have this probability; 1 switches it off.
  public var topP: Float
  /// Drops tokens less likely than this share of the likeliest; 0 switches it off.
  public var minP: Float
  /// Divides the logits of tokens that came before; 1 switches it off.
  public var repetitionPenalty: Float
  /// Taken from the logits of tokens that came before; 0 switches it off.
  public var presencePenalty: Float
  /// Taken from the logits of tokens for each time that they came; 0 switches it off.
  public var frequencyPenalty: Float
  /// Of how many last tokens the penalties look at.
  public var penaltyLastN: Int
  /// Added to the logits of single tokens, by their ids.
  public var logitBias: [Int: Float]
  /// The same seed gives the same text; `nil`: a new one for each reply, which its end tells
  /// (``Event/done(metrics:finishReason:seed:)``).
  public var seed: UInt64?

  /// Options, each with its default.
  public init(
    temperature: Float = 0.8,
    topK: Int = 40,
    topP: Float = 0.95,
    minP: Float = 0.05,
    repetitionPenalty: Float = 1,
    presencePenalty: Float = 0,
    frequencyPenalty: Float = 0,
    penaltyLastN: Int = 64,
    logitBias: [Int: Float] = [:],
    seed: UInt64? = nil
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repetitionPenalty = repetitionPenalty
    self.presencePenalty = presencePenalty
    self.frequencyPenalty = frequencyPenalty
    self.penaltyLastN = penaltyLastN
    self.logitBias = logitBias
    self.seed = seed
  }

  /// Always the likeliest token: the same reply each time.
  public static func greedy() -> SamplerOptions {
    SamplerOptions(temperature: 0)
  }
}

/// A tool that the model may call.
public struct Tool: Sendable, Hashable {
  /// Its name.
  public var name: String
  /// What it does, in words for the model.
  public var description: String
  /// Its parameters, a JSON schema of an object.
  public var parameters: String

  /// A tool; `parameters` is the JSON schema of an object.
  public init(name: String, description: String, parameters: String) {
    self.name = name
    self.description = description
    self.parameters = parameters
  }
}

/// How a reply is made.
public struct ReplyOptions: Sendable, Hashable {
  /// How tokens are chosen.
  public var sampler: SamplerOptions
  /// Most tokens of the reply; `nil`: until the model ends it or the context is full.
  public var maxTokens: Int?
  /// Texts that end the reply; they are no part of it.
  public var stop: [String]
  /// Tools that the model may call.
  public var tools: [Tool]
  /// Variables for the chat template, a JSON object; empty: none.
  public var templateVariables: String
  /// Whether a model that can think before it answers does: the variable `enable_thinking` of its
  /// template, whatever ``templateVariables`` says of it; `nil`: as they or the template have it.
  public var thinking: Bool?

  /// Options, each with its default.
  public init(
    sampler: SamplerOptions = SamplerOptions(),
    maxTokens: Int? = nil,
    stop: [String] = [],
    tools: [Tool] = [],
    templateVariables: String = "",
    thinking: Bool? = nil
  ) {
    self.sampler = sampler
    self.maxTokens = maxTokens
    self.stop = stop
    self.tools = tools
    self.templateVariables = templateVariables
    self.thinking = thinking
  }
}

extension ReplyOptions {
  func generated() throws -> ReplySettings {
    ReplySettings(
      sampler: try sampler.generated(),
      maxTokens: try maxTokens.map { try natural($0, "the limit on tokens") },
      stop: stop,
      tools: tools.map { tool in
        DormouseGenerated.Tool(
          name: tool.name, description: tool.description, parameters: tool.parameters)
      },
      templateVariables: variables)
  }

  /// ``templateVariables`` with ``thinking`` after them: of two members with one name the last
  /// counts. What is no object stays none, for the engine to refuse.
  private var variables: String {
    guard let thinking else { return templateVariables }
    let member = "\"enable_thinking\":\(thinking)"
    let text = trimmed(templateVariables[...])
    if text.isEmpty { return "{\(member)}" }
    guard text.count >= 2, text.first == "{", text.last == "}" else { return templateVariables }
    let members = text.dropLast()
    return trimmed(members.dropFirst()).isEmpty ? "{\(member)}" : "\(members),\(member)}"
  }

  /// Without the white space around it.
  private func trimmed(_ text: Substring) -> Substring {
    let begin = text.drop(while: \.isWhitespace)
    guard let last = begin.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return begin[...last]
  }
}

extension SamplerOptions {
  fileprivate func generated() throws -> SamplerSettings {
    var bias: [UInt32: Float] = [:]
    for (token, value) in logitBias {
      bias[try natural(token, "a token of the logit bias")] = value
    }
    return SamplerSettings(
      temperature: temperature,
      topK: try natural(topK, "top-k"),
      topP: topP,
      minP: minP,
      repetitionPenalty: repetitionPenalty,
      presencePenalty: presencePenalty,
      frequencyPenalty: frequencyPenalty,
      penaltyLastN: try natural(penaltyLastN, "the number of tokens that penalties look at"),
      logitBias: bias,
      seed: seed)
  }
}
