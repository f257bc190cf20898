import CLinux

/// A table of nf_tables.
public struct NftTable: Hashable, Sendable {
  /// Family and name identify a table.
  public struct ID: Hashable, Sendable, CustomStringConvertible {
    /// Which packets it sees.
    public var family: NftFamily
    /// Unique in the family.
    public var name: String

    /// Every field as given.
    public init(_ family: NftFamily, _ name: String) {
      self.family = family
      self.name = name
    }

    /// `ip flannel-ipv4`
    public var description: String { "\(family.name) \(name)" }
  }

  /// Family and name.
  public var id: ID
  /// Up to `NftRule.commentLimit` bytes; the rest is cut.
  public var comment: String?
  /// `NFT_TABLE_F_*`: 1 dormant, 2 owned by a program, 4 persistent.
  public var flags: UInt32
  /// Netlink port of the program that owns the table and alone may change it; 0 = none.
  public var owner: UInt32

  /// A table without owner, as it is to be made.
  public init(_ id: ID, comment: String? = nil, flags: UInt32 = 0, owner: UInt32 = 0) {
    self.id = id
    self.comment = comment
    self.flags = flags
    self.owner = owner
  }
}

/// A chain of a table.
public struct NftChain: Hashable, Sendable {
  /// What a chain does that is not accepted or dropped by a rule.
  public enum Policy: UInt32, Hashable, Sendable {
    case drop = 0
    case accept = 1
  }

  /// What makes a chain a base chain: the kernel calls it at a hook.
  public struct Base: Hashable, Sendable {
    /// `filter`, `nat` or `route`.
    public var type: String
    /// Where it is called.
    public var hook: NftHook
    /// Lower numbers are called earlier: dstnat −100, filter 0, srcnat 100.
    public var priority: Int32
    /// What happens to packets that no rule decided on.
    public var policy: Policy

    /// Every field as given.
    public init(type: String, hook: NftHook, priority: Int32, policy: Policy = .accept) {
      self.type = type
      self.hook = hook
      self.priority = priority
      self.policy = policy
    }
  }

  /// The table it belongs to.
  public var table: NftTable.ID
  /// Unique in the table.
  public var name: String
  /// Where the kernel calls it; nil = only other chains do.
  public var base: Base?
  /// Up to `NftRule.commentLimit` bytes; the rest is cut.
  public var comment: String?

  /// Every field as given; without a base it is a chain for jumps.
  public init(_ table: NftTable.ID, _ name: String, base: Base? = nil, comment: String? = nil) {
    self.table = table
    self.name = name
    self.base = base
    self.comment = comment
  }
}

/// Where the kernel calls a base chain of the IP and bridge families (`NF_INET_*`, `NF_BR_*`).
public enum NftHook: UInt32, Hashable, Sendable, CaseIterable {
  case prerouting = 0
  case input = 1
  case forward = 2
  case output = 3
  case postrouting = 4
  /// `NF_INET_INGRESS`, inet tables only.
  case ingress = 5
}

enum TableAttribute {
  static let name: UInt16 = 1
  static let flags: UInt16 = 2
  static let userData: UInt16 = 6
  static let owner: UInt16 = 7
}

enum ChainAttribute {
  static let table: UInt16 = 1
  static let name: UInt16 = 3
  static let hook: UInt16 = 4
  static let policy: UInt16 = 5
  static let type: UInt16 = 7
  static let userData: UInt16 = 12
  static let hookNumber: UInt16 = 1
  static let hookPriority: UInt16 = 2
}

extension NftTable {
  /// From `NFT_MSG_NEWTABLE` or `NFT_MSG_DELTABLE`; nil when the name or a known family is missing.
  init?(_ message: borrowing Message) {
    guard let family = NftFamily(message) else { return nil }
    var name: String?
    self.init(ID(family, ""))
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      switch a.type {
      case TableAttribute.name: name = a.string
      case TableAttribute.flags: flags = a.bigUInt32 ?? 0
      case TableAttribute.userData: comment = NftUserData.comment(in: a.bytes)
      case TableAttribute.owner: owner = a.bigUInt32 ?? 0
      default: break
      }
    }
    guard let name else { return nil }
    id.name = name
  }

  func encode(into writer: inout MessageWriter) {
    writer.attribute(TableAttribute.name, id.name)
    writer.big(TableAttribute.flags, flags)
    let data = NftUserData.entry(comment: comment)
    if !data.isEmpty { writer.bytes(TableAttribute.userData, data) }
  }
}

extension NftChain {
  /// From `NFT_MSG_NEWCHAIN` or `NFT_MSG_DELCHAIN`; nil when a name or a known family is missing. A base chain on a
  /// hook that is not known here reads as one for jumps.
  init?(_ message: borrowing Message) {
    guard let family = NftFamily(message) else { return nil }
    var table: String?
    var name: String?
    var type = ""
    var policy = Policy.accept
    var hook: (number: UInt32, priority: Int32)?
    var comment: String?
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      switch a.type {
      case ChainAttribute.table: table = a.string
      case ChainAttribute.name: name = a.string
      case ChainAttribute.type: type = a.string
      case ChainAttribute.policy: policy = a.bigUInt32.flatMap(Policy.init(rawValue:)) ?? .accept
      case ChainAttribute.hook: hook = Self.hook(a.nested())
      case ChainAttribute.userData: comment = NftUserData.comment(in: a.bytes)
      default: break
      }
    }
    guard let table, let name else { return nil }
    self.init(NftTable.ID(family, table), name, comment: comment)
    if let hook, let known = NftHook(rawValue: hook.number) {
      base = Base(type: type, hook: known, priority: hook.priority, policy: policy)
    }
  }

  private static func hook(_ attributes: consuming AttributeReader) -> (UInt32, Int32)? {
    var attributes = attributes
    var number: UInt32?
    var priority: Int32 = 0
    while let a = attributes.next() {
      switch a.type {
      case ChainAttribute.hookNumber: number = a.bigUInt32
      case ChainAttribute.hookPriority: priority = Int32(bitPattern: a.bigUInt32 ?? 0)
      default: break
      }
    }
    return number.map { ($0, priority) }
  }

  func encode(into writer: inout MessageWriter) {
    writer.attribute(ChainAttribute.table, table.name)
    writer.attribute(ChainAttribute.name, name)
    if let base {
      writer.nest(ChainAttribute.hook) {
        $0.big(ChainAttribute.hookNumber, base.hook.rawValue)
        $0.big(ChainAttribute.hookPriority, UInt32(bitPattern: base.priority))
      }
      writer.big(ChainAttribute.policy, base.policy.rawValue)
      writer.attribute(ChainAttribute.type, base.type)
    }
    let data = NftUserData.entry(comment: comment)
    if !data.isEmpty { writer.bytes(ChainAttribute.userData, data) }
  }
}

extension NftFamily {
  /// The family in the fixed header of a message.
  init?(_ message: borrowing Message) {
    guard let number = message.header(as: UInt8.self), let family = NftFamily(rawValue: number) else { return nil }
    self = family
  }
}
