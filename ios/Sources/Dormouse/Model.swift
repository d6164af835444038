internal import DormouseGenerated

/// A loaded model.
///
/// Several chats can use it at once; they take turns. It is closed by ``close()``, or when the last
/// reference to it, its chats and its replies is gone.
public final class Model: Sendable {
  /// What the model is. Also of a closed one.
  public let info: ModelInfo

  let handle: ModelHandle

  init(_ handle: ModelHandle) {
    self.handle = handle
    self.info = ModelInfo(handle.info())
  }

  /// Opens a chat.
  ///
  /// - Throws: ``DormouseError/template(why:)`` when the model has no chat template;
  ///   ``DormouseError/invalidOptions(what:)`` for a context that the model cannot have;
  ///   ``DormouseError/outOfMemory(needed:budget:)`` when the memory budget is used up;
  ///   ``DormouseError/closed``.
  public func newChat(options: ChatOptions = ChatOptions()) throws -> Chat {
    let chat = try translated { try handle.chat(settings: try options.generated()) }
    return Chat(chat, of: self, reply: options.reply)
  }

  /// Opens a chat with instructions to the model.
  ///
  /// - Throws: As ``newChat(options:)``.
  public func newChat(system: String) throws -> Chat {
    try newChat(options: ChatOptions(system: system))
  }

  /// Goes on from a text as it is, without a chat template.
  ///
  /// The beginning-of-text token is put before it where the model has one, and special tokens
  /// written out in it are taken as such.
  ///
  /// - Parameters:
  ///   - prompt: The text to go on from; not empty.
  ///   - options: How it goes on.
  /// - Returns: The events, whose iteration starts the work. It throws
  ///   ``DormouseError/invalidOptions(what:)``, ``DormouseError/contextFull(used:max:)``,
  ///   ``DormouseError/outOfMemory(needed:budget:)`` or ``DormouseError/closed``.
  public func complete(_ prompt: String, options: ReplyOptions = ReplyOptions()) -> ReplyStream {
    ReplyStream { [self] call in
      // Whatever else is wrong with the call.
      if handle.isClosed() { throw DormouseError.closed }
      return try await handle.complete(
        prompt: prompt, settings: try options.generated(), token: call)
    }
  }

  /// The tokens of a text, without a beginning-of-text token.
  ///
  /// - Parameters:
  ///   - text: The text.
  ///   - special: Whether special tokens written out in it are taken as such.
  /// - Returns: The tokens' ids.
  /// - Throws: ``DormouseError/closed``; `CancellationError` in a task that was cancelled before.
  public func tokenize(_ text: String, special: Bool = false) async throws -> [Int] {
    try await translated { [self] in
      try await handle.tokenize(text: text, special: special).map(Int.init)
    }
  }

  /// How many tokens a text has, without a beginning-of-text token.
  ///
  /// - Throws: ``DormouseError/closed``; `CancellationError` in a task that was cancelled before.
  public func countTokens(_ text: String) async throws -> Int {
    try await translated { [self] in
      try await handle.tokenize(text: text, special: false).count
    }
  }

  /// The text of tokens; bytes that are no characters come as replacement characters.
  ///
  /// - Throws: ``DormouseError/invalidOptions(what:)`` for a token outside the vocabulary;
  ///   ``DormouseError/closed``.
  public func detokenize(_ tokens: [Int]) throws -> String {
    try translated {
      try handle.detokenize(tokens: try tokens.map { try natural($0, "a token") })
    }
  }

  /// A vector that tells texts of like meaning from others, if the model was trained for that.
  ///
  /// The dot product of two is the cosine of the angle between them: their length is 1. To cancel
  /// the task ends the work within one layer. It takes a context of its own, as long as the text,
  /// for as long as it lasts.
  ///
  /// - Parameters:
  ///   - text: The text; special tokens written out in it are text, too.
  ///   - pooling: How the hidden states of its tokens become one vector; `nil`: as the file asks for.
  /// - Returns: ``ModelInfo/embeddingLength`` values.
  /// - Throws: ``DormouseError/invalidOptions(what:)`` for an empty text, or when neither the file
  ///   nor `pooling` says how to pool; ``DormouseError/contextFull(used:max:)`` for a text longer
  ///   than ``ModelInfo/trainedContextLength``; ``DormouseError/outOfMemory(needed:budget:)`` when
  ///   the memory budget is used up; ``DormouseError/closed``, also when the model is closed
  ///   meanwhile; `CancellationError` when the task was cancelled.
  public func embed(_ text: String, pooling: Pooling? = nil) async throws -> [Float] {
    try await translated { [self] in
      let task = try handle.beginEmbed(text: text, pooling: pooling?.generated)
      // A cancelled task does not end the native call by itself.
      return try await withTaskCancellationHandler {
        try await task.vector()
      } onCancel: {
        task.cancel()
      }
    }
  }

  /// Opens a LoRA adapter, a GGUF file, for this model and its chats; see ``Chat/setAdapters(_:)``.
  ///
  /// ``LoadOptions/fileAccess`` holds for it as for the model, ``LoadOptions/memory`` does not count
  /// it.
  ///
  /// - Parameter source: Where the file is.
  /// - Returns: The adapter.
  /// - Throws: ``DormouseError/notFound(what:)``; ``DormouseError/io(what:code:)``;
  ///   ``DormouseError/unsupportedModel(what:)`` for a file that is no LoRA adapter, or one for
  ///   another architecture; ``DormouseError/corruptModel(place:why:)`` when it is damaged or made
  ///   for a model of another shape; ``DormouseError/invalidOptions(what:)`` for a descriptor that is
  ///   none; ``DormouseError/closed``; `CancellationError` in a task that was cancelled before.
  public func loadAdapter(_ source: ModelSource) async throws -> Adapter {
    try await translated { [self] in
      Adapter(try await handle.loadAdapter(source: try source.generated()))
    }
  }

  /// Ends all replies and embeddings, closes all chats and gives the memory back.
  ///
  /// It waits for what is being computed, at most one layer. From then on every call fails with
  /// ``DormouseError/closed``; to close again does nothing.
  public func close() {
    handle.close()
  }

  /// Whether it was closed.
  public var isClosed: Bool { handle.isClosed() }
}

/// How the hidden states of a text's tokens become one vector; see ``Model/embed(_:pooling:)``.
public enum Pooling: Sendable, Hashable, CaseIterable {
  /// Their mean.
  case mean
  /// That of the first token.
  case first
  /// That of the last token.
  case last
}

extension Pooling {
  fileprivate var generated: DormouseGenerated.Pooling {
    switch self {
    case .mean: .mean
    case .first: .first
    case .last: .last
    }
  }
}

/// What a model is.
public struct ModelInfo: Sendable, Hashable {
  /// Its name, where the file has one.
  public let name: String?
  /// The architecture, by its GGUF name.
  public let architecture: String
  /// How most of its weights are stored, by its GGUF name.
  public let quantization: String
  /// Number of weights.
  public let parameters: UInt64
  /// Bytes of the file.
  public let fileBytes: UInt64
  /// Tokens that it was trained to look back on.
  public let trainedContextLength: Int
  /// Tokens that the context of a chat holds unless it asks for its own.
  public let contextLength: Int
  /// Number of tokens that it knows.
  public let vocabularySize: Int
  /// Number of layers.
  public let layers: Int
  /// Width of its hidden state.
  public let embeddingLength: Int
  /// Whether it can chat; without a template it can only complete.
  public let hasChatTemplate: Bool
  /// Whether its template takes tools.
  public let takesTools: Bool
  /// Whether it thinks before it answers, by its template's markers.
  public let reasons: Bool
  /// Options that were accepted but have no effect in this version, in words.
  public let notInForce: [String]
}

extension ModelInfo {
  fileprivate init(_ info: DormouseGenerated.ModelInfo) {
    self.init(
      name: info.name,
      architecture: info.architecture,
      quantization: info.quantization,
      parameters: info.parameters,
      fileBytes: info.fileBytes,
      trainedContextLength: Int(info.trainedContextLength),
      contextLength: Int(info.contextLength),
      vocabularySize: Int(info.vocabularySize),
      layers: Int(info.layers),
      embeddingLength: Int(info.embeddingLength),
      hasChatTemplate: info.hasChatTemplate,
      takesTools: info.takesTools,
      reasons: info.reasons,
      notInForce: info.notInForce)
  }
}
