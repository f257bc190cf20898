import Firewall
import NetTypes

extension IptablesRule {
  /// The port of the host that a rule of a container's chain is about; nil when it changes no destination.
  var hostPort: HostPort? {
    guard translated != nil, let port else { return nil }
    return HostPort(transport: transport, number: port, address: destination?.address)
  }
}
