# Opens TAP devices of the given names in the network namespace that it runs in, and carries their frames to stdout and from stdin, each
# behind a byte that says which device and two for its length. An empty frame says that the devices are there. Ends with its stdin.
use strict;
use warnings;
use Fcntl;

my $TUNSETIFF = 0x400454ca;
my $IFF_TAP = 0x0002;
my $IFF_NO_PI = 0x1000;
my $CHUNK_BYTES = 65_536;

my @taps = map {
  sysopen(my $tap, "/dev/net/tun", O_RDWR) or die "/dev/net/tun: $!\n";
  my $request = pack("Z16 S x22", $_, $IFF_TAP | $IFF_NO_PI);
  ioctl($tap, $TUNSETIFF, $request) or die "$_: $!\n";
  $tap;
} @ARGV;
syswrite(STDOUT, pack("C n", 0, 0));

my $all = "";
vec($all, fileno($_), 1) = 1 for \*STDIN, @taps;
my $input = "";
while (1) {
  select(my $ready = $all, undef, undef, undef) > 0 or next;
  for my $at (0 .. $#taps) {
    next unless vec($ready, fileno($taps[$at]), 1);
    my $length = sysread($taps[$at], my $frame, $CHUNK_BYTES) or next;
    syswrite(STDOUT, pack("C n", $at, $length) . $frame);
  }
  next unless vec($ready, fileno(STDIN), 1);
  sysread(STDIN, $input, $CHUNK_BYTES, length $input) or exit;
  while (length $input >= 3) {
    my ($at, $length) = unpack("C n", $input);
    last if length $input < 3 + $length;
    # What a device does not take is lost, as on any wire.
    syswrite($taps[$at], substr($input, 3, $length));
    substr($input, 0, 3 + $length) = "";
  }
}
