internal import DormouseGenerated
import Foundation

/// What happens when the context is full.
public enum WhenFull: Sendable, Hashable {
  /// The reply ends; a prompt that does not fit is an error.
  case stop
  /// The oldest tokens go, `keep` at the front stay; `nil`: those of the system message.
  case shift(keep: Int? = nil)
}

/// How a chat is opened.
public struct ChatOptions: Sendable, Hashable {
  /// Instructions to the model.
  public var system: String?
  /// Tokens that the context holds; `nil`: as the model was loaded with.
  public var contextLength: Int?
  /// What happens when they are used up.
  public var whenFull: WhenFull
  /// How replies are made unless a call says otherwise.
  public var reply: ReplyOptions

  /// Options, each with its default.
  public init(
    system: String? = nil,
    contextLength: Int? = nil,
    whenFull: WhenFull = .stop,
    reply: ReplyOptions = ReplyOptions()
  ) {
    self.system = system
    self.contextLength = contextLength
    self.whenFull = whenFull
    self.reply = reply
  }
}

/// A conversation with a model.
///
/// It answers once at a time; its methods can be called from any task or thread. It is closed by
/// ``close()``, with its model, or when the last reference to it and its replies is gone.
public final class Chat: Sendable {
  /// The model that answers.
  // One that is forgotten closes its chats: one that has chats is not forgotten.
  public let model: Model
  let handle: ChatHandle
  private let reply: ReplyOptions

  init(_ handle: ChatHandle, of model: Model, reply: ReplyOptions) {
    self.handle = handle
    self.model = model
    self.reply = reply
  }

  /// Says something to the model, and streams its answer.
  ///
  /// What is said joins the history when the stream is iterated, the answer at its end, however it
  /// ends.
  ///
  /// - Parameters:
  ///   - text: What is said.
  ///   - options: How the answer is made; `nil`: as the chat was opened with.
  /// - Returns: The events, whose iteration starts the work. It throws ``DormouseError/busy`` while
  ///   another answer runs (one that was cancelled is waited for),
  ///   ``DormouseError/contextFull(used:max:)``, ``DormouseError/template(why:)``,
  ///   ``DormouseError/invalidOptions(what:)`` or ``DormouseError/closed``; the history is then as
  ///   it was.
  public func send(_ text: String, options: ReplyOptions? = nil) -> ReplyStream {
    send([.user(text)], options: options)
  }

  /// Adds a message, and streams the answer to it. As `send(_:options:)` of a text.
  public func send(_ message: Message, options: ReplyOptions? = nil) -> ReplyStream {
    send([message], options: options)
  }

  /// Adds several messages, as the results of tools, and streams the answer to them. As
  /// `send(_:options:)` of a text.
  public func send(_ messages: [Message], options: ReplyOptions? = nil) -> ReplyStream {
    stream(options) { chat, settings, call in
      try await chat.handle.send(
        messages: messages.map(\.generated), settings: settings, token: call)
    }
  }

  /// Drops the last answer and streams another.
  ///
  /// - Returns: The events, as of `send(_:options:)` of a text; it also throws
  ///   ``DormouseError/invalidOptions(what:)`` when there is nothing to answer.
  public func regenerate(options: ReplyOptions? = nil) -> ReplyStream {
    stream(options) { chat, settings, call in
      try await chat.handle.regenerate(settings: settings, token: call)
    }
  }

  /// Replaces what the user said at `index` of ``messages``, drops all after it and streams the
  /// answer.
  ///
  /// - Returns: The events, as of `send(_:options:)` of a text; it also throws
  ///   ``DormouseError/invalidOptions(what:)`` when that is not a message of the user.
  public func edit(_ index: Int, text: String, options: ReplyOptions? = nil) -> ReplyStream {
    edit(index, message: .user(text), options: options)
  }

  /// Replaces the user's message at `index` of ``messages``, drops all after it and streams the
  /// answer. As ``edit(_:text:options:)``.
  public func edit(_ index: Int, message: Message, options: ReplyOptions? = nil) -> ReplyStream {
    stream(options) { chat, settings, call in
      try await chat.handle.edit(
        index: try natural(index, "the index"), message: message.generated, settings: settings,
        token: call)
    }
  }

  /// Says something to the model, and waits for the whole answer. To cancel the task cancels it.
  ///
  /// - Throws: As the events of `send(_:options:)` of a text, or `CancellationError` when the
  ///   task was cancelled.
  public func reply(_ text: String, options: ReplyOptions? = nil) async throws -> Reply {
    try await send(text, options: options).whole()
  }

  /// Adds a message, and waits for the whole answer to it. As `reply(_:options:)` of a text.
  public func reply(_ message: Message, options: ReplyOptions? = nil) async throws -> Reply {
    try await send(message, options: options).whole()
  }

  func stream(
    _ options: ReplyOptions?,
    _ start:
      @escaping @Sendable (Chat, ReplySettings, CallToken) async throws -> DormouseGenerated.Reply
  ) -> ReplyStream {
    let options = options ?? reply
    return ReplyStream(newCall: { [handle] in handle.newCall() }) { [self] call in
      // Whatever else is wrong with the call.
      if handle.isClosed() { throw DormouseError.closed }
      return try await start(self, try options.generated(), call)
    }
  }

  /// Runs a call that its task ends: to cancel a task does not end a native call by itself.
  private func ending<T: Sendable>(
    _ work: @escaping @Sendable (CallToken) async throws -> T
  ) async throws -> T {
    try await translated {
      let call = CallToken()
      return try await withTaskCancellationHandler {
        try await work(call)
      } onCancel: {
        call.cancel()
      }
    }
  }

  /// The history, an answer that is being computed as far as it has come; one that is being started
  /// is no part of it yet, nor is what it answers.
  ///
  /// - Throws: ``DormouseError/closed``.
  public var messages: [Message] {
    get throws {
      try translated { try handle.messages().map(Message.init) }
    }
  }

  /// Replaces the history, the system message included.
  ///
  /// - Throws: ``DormouseError/busy`` while an answer runs;
  ///   ``DormouseError/invalidOptions(what:)``; ``DormouseError/closed``.
  public func setMessages(_ messages: [Message]) throws {
    try translated { try handle.setMessages(messages: messages.map(\.generated)) }
  }

  /// Sets, replaces or (with `nil`) removes the system message.
  ///
  /// - Throws: ``DormouseError/busy`` while an answer runs; ``DormouseError/closed``.
  public func setSystem(_ text: String?) throws {
    try translated { try handle.setSystem(text: text) }
  }

  /// Forgets all messages but the system message.
  ///
  /// - Throws: ``DormouseError/busy`` while an answer runs; ``DormouseError/closed``.
  public func reset() throws {
    try translated { try handle.reset() }
  }

  /// Replaces the chat's LoRA adapters; none takes all off.
  ///
  /// The history stays, and the next answer evaluates all of it anew.
  ///
  /// - Throws: ``DormouseError/busy`` while an answer runs; ``DormouseError/invalidOptions(what:)``
  ///   for an adapter that was opened for another model, if one of the same file, or a scale that is
  ///   no number; ``DormouseError/closed``, also when an adapter is; `CancellationError` when the task
  ///   was cancelled before. The former adapters then stay.
  public func setAdapters(_ adapters: [AdapterScale]) async throws {
    try await ending { [self] call in
      try await handle.setAdapters(adapters: adapters.map(\.generated), token: call)
    }
  }

  /// Writes the history to a file, which is replaced as a whole or left as it is.
  ///
  /// Saves of a chat are made one after the other.
  ///
  /// - Throws: ``DormouseError/io(what:code:)`` when it cannot be written;
  ///   ``DormouseError/notFound(what:)`` when its folder is not there; ``DormouseError/closed``;
  ///   `CancellationError` when the task was cancelled before. The file is then as it was.
  public func save(to path: String) async throws {
    try await ending { [self] call in try await handle.save(path: path, token: call) }
  }

  /// Writes the history to a file. As `save(to:)` of a path.
  public func save(to file: URL) async throws {
    try await save(to: try filePath(file, of: "a saved chat"))
  }

  /// Replaces the history by that of a file which `save(to:)` wrote.
  ///
  /// - Throws: ``DormouseError/notFound(what:)``; ``DormouseError/io(what:code:)`` for a file that
  ///   is no saved chat, as is a pipe or a device; ``DormouseError/busy`` while an answer runs;
  ///   ``DormouseError/closed``; `CancellationError` when the task was cancelled before. The history
  ///   is then as it was.
  public func restore(from path: String) async throws {
    try await ending { [self] call in try await handle.restore(path: path, token: call) }
  }

  /// Replaces the history by that of a file. As `restore(from:)` of a path.
  public func restore(from file: URL) async throws {
    try await restore(from: try filePath(file, of: "a saved chat"))
  }

  /// Tokens that the context holds.
  public var contextLength: Int { Int(handle.contextLength()) }

  /// Tokens of the context that are filled.
  ///
  /// - Throws: ``DormouseError/busy`` while an answer runs; ``DormouseError/closed``.
  public var contextUsed: Int {
    get throws {
      try translated { Int(try handle.contextUsed()) }
    }
  }

  /// Cancels the answer that runs, if one does, within one token; one that is being started ends as
  /// soon as it begins. Its stream ends as usual, with ``FinishReason/cancelled``.
  public func cancel() {
    handle.cancel()
  }

  /// Cancels the answer that runs and gives the memory back.
  ///
  /// It waits for what is being computed, at most one layer. The stream of an answer that runs ends
  /// with ``FinishReason/cancelled``, that of one that is only being started throws
  /// ``DormouseError/closed``, as from then on every call does; to close again does nothing.
  public func close() {
    handle.close()
  }

  /// Whether it was closed: by ``close()``, with its model, or by a defect of Dormouse while it
  /// computed (``DormouseError/internal(place:what:)``).
  public var isClosed: Bool { handle.isClosed() }
}

extension ChatOptions {
  func generated() throws -> ChatSettings {
    ChatSettings(
      system: system,
      contextLength: try contextLength.map { try natural($0, "the context length") },
      whenFull: try whenFull.generated())
  }
}

extension WhenFull {
  fileprivate func generated() throws -> DormouseGenerated.WhenFull {
    switch self {
    case .stop: .stop
    case .shift(let keep):
      .shift(keep: try keep.map { try natural($0, "the number of tokens to keep") })
    }
  }
}
