internal import DormouseGenerated

/// Who speaks.
public enum Role: Sendable, Hashable, CaseIterable {
  /// Whoever set up the conversation.
  case system
  /// The person.
  case user
  /// The model.
  case assistant
  /// A tool, answering a call.
  case tool
}

/// One part of a message's content.
public enum Part: Sendable, Hashable {
  /// Text.
  case text(String)
}

/// A call of a tool that the model asks for.
public struct ToolCall: Sendable, Hashable {
  /// Ties the result to the call, where the model gives one.
  public var id: String?
  /// The tool's name.
  public var name: String
  /// The arguments, a JSON object.
  public var arguments: String

  /// A call; `arguments` is a JSON object.
  public init(id: String? = nil, name: String, arguments: String) {
    self.id = id
    self.name = name
    self.arguments = arguments
  }
}

/// One message of a conversation.
public struct Message: Sendable, Hashable {
  /// Who speaks.
  public var role: Role
  /// What is said, in order.
  public var content: [Part]
  /// What the model thought before it spoke.
  public var reasoning: String?
  /// Calls that the model makes with this message.
  public var toolCalls: [ToolCall]
  /// For a tool's message: the call that it answers.
  public var toolCallId: String?
  /// For a tool's message: the tool's name.
  public var name: String?

  /// A message of any kind.
  public init(
    role: Role,
    content: [Part],
    reasoning: String? = nil,
    toolCalls: [ToolCall] = [],
    toolCallId: String? = nil,
    name: String? = nil
  ) {
    self.role = role
    self.content = content
    self.reasoning = reasoning
    self.toolCalls = toolCalls
    self.toolCallId = toolCallId
    self.name = name
  }

  /// Instructions to the model.
  public static func system(_ text: String) -> Message {
    Message(role: .system, content: [.text(text)])
  }

  /// What the person says.
  public static func user(_ text: String) -> Message {
    Message(role: .user, content: [.text(text)])
  }

  /// What the model said.
  public static func assistant(_ text: String) -> Message {
    Message(role: .assistant, content: [.text(text)])
  }

  /// What a tool answers.
  ///
  /// - Parameters:
  ///   - text: The result, in a form that the model understands; often JSON.
  ///   - callId: The call's ``ToolCall/id``, where it has one.
  ///   - name: The tool's name.
  /// - Returns: The message.
  public static func tool(_ text: String, callId: String? = nil, name: String? = nil) -> Message {
    Message(role: .tool, content: [.text(text)], toolCallId: callId, name: name)
  }

  /// The text of all parts, put together.
  public var text: String {
    content.map { part in
      switch part {
      case .text(let text): text
      }
    }.joined()
  }
}

extension ToolCall {
  init(_ call: DormouseGenerated.ToolCall) {
    self.init(id: call.id, name: call.name, arguments: call.arguments)
  }
}

extension Message {
  init(_ message: DormouseGenerated.Message) {
    self.init(
      role: Role(message.role),
      content: message.content.map { part in
        switch part {
        case .text(let text): .text(text)
        }
      },
      reasoning: message.reasoning,
      toolCalls: message.toolCalls.map(ToolCall.init),
      toolCallId: message.toolCallId,
      name: message.name)
  }

  var generated: DormouseGenerated.Message {
    DormouseGenerated.Message(
      role: role.generated,
      content: content.map { part in
        switch part {
        case .text(let text): .text(text: text)
        }
      },
      reasoning: reasoning,
      toolCalls: toolCalls.map { call in
        DormouseGenerated.ToolCall(id: call.id, name: call.name, arguments: call.arguments)
      },
      toolCallId: toolCallId,
      name: name)
  }
}

extension Role {
  fileprivate init(_ role: DormouseGenerated.Role) {
    self =
      switch role {
      case .system: .system
      case .user: .user
      case .assistant: .assistant
      case .tool: .tool
      }
  }

  fileprivate var generated: DormouseGenerated.Role {
    switch self {
    case .system: .system
    case .user: .user
    case .assistant: .assistant
    case .tool: .tool
    }
  }
}
