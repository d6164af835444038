// The enum hides the module of the same name, so `Dormouse.Message` cannot be written. An app that
// has a type of its own with one of these names says these.

/// ``Adapter``, for an app that has a type of that name.
public typealias DormouseAdapter = Adapter
/// ``Chat``, for an app that has a type of that name.
public typealias DormouseChat = Chat
/// ``Event``, for an app that has a type of that name.
public typealias DormouseEvent = Event
/// ``Message``, for an app that has a type of that name.
public typealias DormouseMessage = Message
/// ``Model``, for an app that has a type of that name.
public typealias DormouseModel = Model
/// ``Part``, for an app that has a type of that name.
public typealias DormousePart = Part
/// ``Plan``, for an app that has a type of that name.
public typealias DormousePlan = Plan
/// ``Reply``, for an app that has a type of that name.
public typealias DormouseReply = Reply
/// ``Role``, for an app that has a type of that name.
public typealias DormouseRole = Role
/// ``Tool``, for an app that has a type of that name.
public typealias DormouseTool = Tool
