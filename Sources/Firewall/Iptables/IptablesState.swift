public import NetTypes
public import Netlink
import Syscalls

/// The rules of one family in one variant of iptables, read from the kernel without any program. Looking never makes a
/// table and loads no module.
public struct IptablesState: ~Copyable {
  private let family: AddressFamily
  private let variant: IptablesVariant
  private var socket: NftSocket?
  private var legacy: [String: LegacyTable] = [:]

  /// Works in the calling thread's network namespace.
  public init(_ family: AddressFamily, _ variant: IptablesVariant) throws(NetlinkError) {
    self.family = family
    self.variant = variant
    if variant == .nft { socket = try NftSocket() }
  }

  /// The rules of a chain in their order; nil when there is no such chain. The legacy variant reads a table once: `reload`
  /// makes it look again.
  public mutating func chain(_ name: String, in table: String) throws(NetlinkError) -> [IptablesRule]? {
    guard variant == .nft else { return try read(table)?.chain(name) }
    let id = NftTable.ID(family == .ipv4 ? .ipv4 : .ipv6, table)
    let family = family
    do throws(NetlinkError) {
      guard try socket?.chain(id, name) != nil else { return nil }
      return try socket?.rules(id, chain: name).map { IptablesRule($0, family) }
    } catch  where error.isUnavailable {
      return nil
    }
  }

  /// Forgets what was read.
  public mutating func reload() { legacy = [:] }

  private mutating func read(_ table: String) throws(NetlinkError) -> LegacyTable? {
    if let known = legacy[table] { return known }
    do throws(SystemError) {
      legacy[table] = try LegacyTable.read(table, family)
    } catch {
      throw NetlinkError(error)
    }
    return legacy[table]
  }
}
