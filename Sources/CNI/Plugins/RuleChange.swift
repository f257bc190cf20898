import Firewall
import Netlink
import Syscalls

extension NftSocket {
  static func ofThread() throws(CNIError) -> NftSocket {
    do throws(NetlinkError) {
      return try NftSocket()
    } catch {
      throw CNIError("failed to open a netlink socket", error)
    }
  }

  /// The rules of a table or a chain; none where the kernel has no nf_tables.
  mutating func present(_ table: NftTable.ID, chain: String? = nil) throws(CNIError) -> [NftRule] {
    do throws(NetlinkError) {
      return try rules(table, chain: chain)
    } catch  where error.isUnavailable {
      return []
    } catch {
      throw CNIError("failed to read the rules of \(table)", error)
    }
  }

  /// Looks at the rules, works out a transaction and carries it out; again from the start where another program changed
  /// them in between.
  /// - Parameter plan: reads what it needs and records the change.
  mutating func change(
    _ what: String, _ plan: (inout NftSocket) throws(CNIError) -> NftBatch
  ) throws(CNIError) {
    var wait = Backoff(limit: 2_000_000_000)
    while true {
      let batch = try plan(&self)
      do throws(NetlinkError) {
        return try commit(batch)
      } catch {
        guard Self.mayPass(error.errno), wait.next() else { throw refusal(what, error) }
      }
    }
  }

  /// Refusals that come from a change by somebody else at the same moment: what was to be removed is gone, what was to
  /// be made is there, the rule set is another one.
  private static func mayPass(_ errno: Errno) -> Bool {
    [.noEntry, .exists, .busy, .noBuffers, .interrupted].contains(errno) || errno.rawValue == 85 /* ERESTART */
  }

  /// The error, and whose table it is if that is the reason.
  private mutating func refusal(_ what: String, _ error: NetlinkError) -> CNIError {
    if error.errno == .notPermitted,
      let owned = (try? tables())?.first(where: { $0.owner != 0 && error.object.hasPrefix("\($0.id)") })
    {
      return .plain(
        "\(what): \(error): the table \(owned.id) belongs to the program with netlink port \(owned.owner), which alone "
          + "may change it", .ioFailure)
    }
    let hint = error.isUnavailable ? "; does this kernel have nf_tables with NAT?" : ""
    return .plain("\(what): \(error)\(hint)", .ioFailure)
  }
}

extension NftBatch {
  /// Makes a chain hold exactly these rules. One that does already is left alone.
  /// - Parameter present: the rules of the table as they are.
  mutating func fill(_ table: NftTable.ID, _ chain: String, _ rules: [Rule], _ present: [NftRule]) {
    let wanted = rules.flatMap { $0.nftables(table, chain) }
    guard present.filter({ $0.chain == chain }).map(\.comparable) != wanted else { return }
    flush(table, chain)
    for rule in wanted { append(rule) }
  }

  /// Adds a rule of the model at the end of a chain.
  mutating func append(_ rule: Rule, _ table: NftTable.ID, _ chain: String) {
    for r in rule.nftables(table, chain) { append(r) }
  }
}
