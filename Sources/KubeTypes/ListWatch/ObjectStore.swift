/// The objects that are known, and what has changed since somebody last looked.
///
/// A list is collected aside and takes the place of everything at once, so that the store always is one complete state.
/// An object that comes again unchanged, as in a heartbeat, costs no memory and is no change.
public struct ObjectStore<Object: KubeObject>: Sendable {
  private var objects: [String: ObjectRecord] = [:]
  private var listed: [String: ObjectRecord] = [:]
  /// Names that are to be looked at, each once.
  private var touched: Set<String> = []
  private var isReplaced = false

  /// Nothing is known.
  public init() {}

  /// How many objects are known.
  public var count: Int { objects.count }

  /// True when `takeChanges` has something to say.
  public var hasChanges: Bool { isReplaced || !touched.isEmpty }

  /// All objects, sorted by name.
  public var all: [Object] {
    objects.sorted { $0.key < $1.key }.map { Object($0.value) }
  }

  /// An object by its name, or by `NAMESPACE/NAME`.
  public subscript(key: String) -> Object? { objects[key].map { Object($0) } }

  /// What has changed since the last call; nil when nothing has and no list was completed.
  public mutating func takeChanges() -> ObjectChanges<Object>? {
    guard hasChanges else { return nil }
    defer {
      touched = []
      isReplaced = false
    }
    var out = ObjectChanges<Object>()
    for key in touched {
      if let record = objects[key] { out.changed.append(Object(record)) } else { out.removed.append(key) }
    }
    return out
  }

  /// The list that was collected takes the place of what is known.
  public mutating func commit() {
    for (key, record) in listed where objects[key] != record { touched.insert(key) }
    for key in objects.keys where listed[key] == nil { touched.insert(key) }
    objects = listed
    listed = [:]
    isReplaced = true
  }

  /// Forgets what was collected of a list.
  public mutating func discard() { listed = [:] }

  /// An item of the list that is being read.
  public mutating func collect(_ draft: ObjectDraft) {
    let key = draft.key
    if let known = objects[key], known.bytes == draft.bytes { listed[key] = known } else { listed[key] = draft.record }
  }

  /// An event of a watch.
  public mutating func apply(_ kind: WatchEventKind, _ draft: ObjectDraft) {
    guard kind != .bookmark else { return }
    let key = draft.key
    if kind == .deleted {
      if objects.removeValue(forKey: key) != nil { touched.insert(key) }
    } else if objects[key]?.bytes != draft.bytes {
      objects[key] = draft.record
      touched.insert(key)
    }
  }
}

/// What has become different between two looks at a store. An object that changed several times is there once, as it is
/// now.
public struct ObjectChanges<Object: KubeObject>: Sendable {
  /// New and changed objects, in no order.
  public var changed: [Object] = []
  /// Names, or `NAMESPACE/NAME`, of objects that are gone.
  public var removed: [String] = []

  /// Nothing.
  public init() {}
}
