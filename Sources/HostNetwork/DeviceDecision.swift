public import NetTypes

/// What must happen to a device of ours.
public enum DeviceDecision: Equatable, Sendable {
  /// It is as wanted.
  case keep
  /// It does not exist.
  case create
  /// Change these in place; nil = as wanted.
  case adjust(mtu: UInt32?, mac: MACAddress?)
  /// It exists with options that cannot be changed; the text says which.
  case recreate(because: String)
  /// Something of that name exists that we never made: it is not touched.
  case conflict(String)

  /// Compares a wanted VXLAN device with what is there (contract flanneld §12.1). Underlay, addresses and port count
  /// only when both sides have one; MTU and MAC are adjusted in place, learning means re-creation (§19.11). A device of
  /// another kind is an operator's and stays.
  public init(desired: Link, observed: Link?) {
    guard let observed else {
      self = .create
      return
    }
    guard case .vxlan(let want)? = desired.kind, case .vxlan(let have)? = observed.kind else {
      let kind = observed.kind?.name ?? "physical"
      self = .conflict(
        "cannot create \(desired.name) (\(desired.kind?.name ?? "device")): a device of that name exists and is of "
          + "kind \(kind) — rename or delete it, or choose another \"VNI\"")
      return
    }
    var reasons: [String] = []
    func compare<T: Equatable>(_ what: String, _ a: T, _ b: T) {
      if a != b { reasons.append("\(what) is \(b) instead of \(a)") }
    }
    compare("VNI", want.vni, have.vni)
    if want.underlay != 0, have.underlay != 0 { compare("underlay interface", want.underlay, have.underlay) }
    if let a = want.local, let b = have.local { compare("local address", a, b) }
    if want.group != have.group { reasons.append("a group or remote is set") }
    if want.port != 0, have.port != 0 { compare("port", want.port, have.port) }
    compare("GBP", want.gbp, have.gbp)
    compare("l2miss", want.l2miss, have.l2miss)
    compare("learning", want.learning, have.learning)
    if !reasons.isEmpty {
      self = .recreate(because: reasons.joined(separator: ", "))
      return
    }
    let mtu = desired.mtu != 0 && desired.mtu != observed.mtu ? desired.mtu : nil
    let mac = desired.mac != nil && desired.mac != observed.mac ? desired.mac : nil
    self = mtu == nil && mac == nil ? .keep : .adjust(mtu: mtu, mac: mac)
  }
}
