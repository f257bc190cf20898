import CLinux

/// A change of the rule set that the kernel told about.
public enum NftEvent: Hashable, Sendable {
  case table(NftTable.ID, removed: Bool)
  case chain(NftTable.ID, String, removed: Bool)
  /// A rule of the chain was added, replaced or removed.
  case rule(NftTable.ID, String, removed: Bool)
  case set(NftTable.ID, String, removed: Bool)
  /// Elements of the set were added or removed.
  case elements(NftTable.ID, String, removed: Bool)
  /// A transaction is complete: its number, and the process that made it as far as the kernel tells.
  case generation(UInt32, pid: UInt32, program: String)
  /// Events were lost: anything may have changed.
  case overflow

  /// The table that changed; nil for generations and lost events.
  public var table: NftTable.ID? {
    switch self {
    case .table(let t, _), .chain(let t, _, _), .rule(let t, _, _), .set(let t, _, _), .elements(let t, _, _): t
    case .generation, .overflow: nil
    }
  }

  /// nil for messages of no interest here. Only names are read, so that a flood costs little.
  init?(_ message: borrowing Message) {
    guard message.type >> 8 == Netfilter.nftables else { return nil }
    let type = message.type & 0xff
    if type == NftMessage.newGeneration {
      self = Self.generation(message)
      return
    }
    guard let family = NftFamily(message) else { return nil }
    // The table's name is attribute 1 everywhere; the second name is 2 for rules and sets, 3 for chains.
    var table: String?
    var name: String?
    let second: UInt16 = type == NftMessage.newChain || type == NftMessage.deleteChain ? ChainAttribute.name : 2
    var attributes = message.attributes(after: Netfilter.headerSize)
    while table == nil || name == nil, let a = attributes.next() {
      if a.type == 1 { table = a.string } else if a.type == second { name = a.string }
    }
    guard let table else { return nil }
    let id = NftTable.ID(family, table)
    switch type {
    case NftMessage.newTable, NftMessage.deleteTable: self = .table(id, removed: type == NftMessage.deleteTable)
    case NftMessage.newChain, NftMessage.deleteChain:
      self = .chain(id, name ?? "", removed: type == NftMessage.deleteChain)
    case NftMessage.newRule, NftMessage.deleteRule: self = .rule(id, name ?? "", removed: type == NftMessage.deleteRule)
    case NftMessage.newSet, NftMessage.deleteSet: self = .set(id, name ?? "", removed: type == NftMessage.deleteSet)
    case NftMessage.newElement, NftMessage.deleteElement:
      self = .elements(id, name ?? "", removed: type == NftMessage.deleteElement)
    default: return nil
    }
  }

  private static func generation(_ message: borrowing Message) -> NftEvent {
    var number: UInt32 = 0
    var pid: UInt32 = 0
    var program = ""
    var attributes = message.attributes(after: Netfilter.headerSize)
    while let a = attributes.next() {
      switch a.type {
      case 1: number = a.bigUInt32 ?? 0
      case 2: pid = a.bigUInt32 ?? 0
      case 3: program = a.string
      default: break
      }
    }
    return .generation(number, pid: pid, program: program)
  }
}

/// A non-blocking socket on which the kernel tells about changes of the rule set.
public struct NftMonitor: ~Copyable, Sendable {
  private var socket: MonitorSocket

  /// `NFNLGRP_NFTABLES`, 7, as a bit mask.
  private static let group: UInt32 = 1 << 6

  /// Listens in the calling thread's network namespace.
  public init() throws(NetlinkError) {
    socket = try MonitorSocket(NETLINK_NETFILTER, groups: Self.group, receiveBuffer: 4 << 20)
  }

  /// Listens in a network namespace.
  /// - Parameter receiveBuffer: bytes the kernel may queue.
  public init(in namespace: borrowing NetworkNamespace, receiveBuffer: Int32 = 4 << 20) throws(NetlinkError) {
    socket = try MonitorSocket(NETLINK_NETFILTER, in: namespace, groups: Self.group, receiveBuffer: receiveBuffer)
  }

  /// Leaves out changes that were requested from this port.
  public func ignore(port: UInt32) { socket.ignore(port: port) }

  /// For `poll(2)`: readable when there are events.
  public var descriptor: Int32 { socket.descriptor }

  /// Hands out what is queued, without waiting. Lost or malformed messages give `.overflow`.
  public mutating func read(_ handler: (NftEvent) -> Void) throws(NetlinkError) {
    try socket.read({ if let event = NftEvent($0) { handler(event) } }, lost: { handler(.overflow) })
  }
}
