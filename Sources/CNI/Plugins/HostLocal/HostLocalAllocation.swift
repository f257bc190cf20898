import NetTypes
import Syscalls

/// One ADD: an address of every set, or nothing.
enum HostLocalAllocation {
  /// Reserves an address of each set, in order. On failure the addresses reserved here are given back; what the
  /// attachment held before stays.
  static func run(
    _ c: HostLocalConfiguration, _ attachment: CNIRequest.Attachment, _ store: inout ReservationStore
  ) throws(CNIError) -> [CNIResult.IP] {
    var out: [CNIResult.IP] = []
    do throws(CNIError) {
      try reserve(c, attachment, &store, &out)
    } catch {
      for ip in out { try? store.release(ip.address.address, attachment) }
      store.commit()
      throw error
    }
    store.commit()
    return out
  }

  private static func reserve(
    _ c: HostLocalConfiguration, _ attachment: CNIRequest.Attachment, _ store: inout ReservationStore,
    _ out: inout [CNIResult.IP]
  ) throws(CNIError) {
    let held: [IPAddress]
    do throws(SystemError) {
      held = try store.addresses(of: attachment, thorough: false)
    } catch {
      throw CNIError(error)
    }
    var wishes = c.requested
    for (i, set) in c.sets.enumerated() {
      let wish = wishes.firstIndex { set.contains($0) }.map { wishes.remove(at: $0) }
      do throws(CNIError) {
        let (a, range) =
          if let wish { try reserve(wish, set, attachment, &store) } else {
            try reserveNext(set, i, held, attachment, &store)
          }
        store.noteReserved(a, attachment, set: i)
        out.append(
          CNIResult.IP(address: IPPrefix(base: a, length: range.subnet.length), gateway: range.gateway))
      } catch {
        throw error.prefixed("failed to allocate for range \(i): ")
      }
    }
    guard wishes.isEmpty else {
      throw .plain(
        "failed to allocate all requested IPs: " + wishes.map(\.description).joined(separator: " "),
        .invalidConfiguration)
    }
  }

  /// Reserves an address that was asked for.
  private static func reserve(
    _ a: IPAddress, _ set: AddressRangeSet, _ attachment: CNIRequest.Attachment, _ store: inout ReservationStore
  ) throws(CNIError) -> (IPAddress, AddressRange) {
    guard let range = set.range(of: a) else { throw invalid("\(a) not in range set \(set)") }
    guard a != range.gateway else { throw invalid("requested ip \(a) is subnet's gateway") }
    let got = try system { () throws(SystemError) in
      let draft = try store.draft(attachment)
      if try store.link(draft, to: a) { return true }
      return store.reclaim(a) ? try store.link(draft, to: a) : false
    }
    guard got else { throw .plain("requested IP address \(a) is not available in range set \(set)") }
    return (a, range)
  }

  /// Reserves the next free address of a set. Files that a crash has left empty are looked for only when all others are
  /// taken.
  private static func reserveNext(
    _ set: AddressRangeSet, _ number: Int, _ held: [IPAddress], _ attachment: CNIRequest.Attachment,
    _ store: inout ReservationStore
  ) throws(CNIError) -> (IPAddress, AddressRange) {
    if let a = held.first(where: { set.contains($0) }) {
      throw .plain("\(a) has been allocated to \(attachment.containerID), duplicate allocation is not allowed")
    }
    let last = store.lastReserved(number)
    let got = try system { () throws(SystemError) -> (IPAddress, AddressRange)? in
      let draft = try store.draft(attachment)
      for reclaiming in [false, true] {
        for (a, range) in set.candidates(after: last) {
          if reclaiming, !store.reclaim(a) { continue }
          if try store.link(draft, to: a) { return (a, range) }
        }
      }
      return nil
    }
    guard let got else { throw .plain("no IP addresses available in range set: \(set)", .tryAgainLater) }
    return got
  }

  /// Runs file operations with their errors as plain I/O failures.
  private static func system<R>(_ body: () throws(SystemError) -> R) throws(CNIError) -> R {
    do throws(SystemError) {
      return try body()
    } catch {
      throw CNIError(error)
    }
  }
}
