# halve_blob.pl FILE.safetensors: takes away the second half of the first ECF8 blob and writes a header that agrees with
# what is left, so that only the blob's own header can tell.
use strict;
use warnings;

my ($path) = @ARGV;
open my $file, '+<:raw', $path or die "$path: $!\n";
local $/;
my $bytes = <$file>;
my $size = unpack 'Q<', $bytes;
my ($header, $data) = (substr($bytes, 8, $size), substr $bytes, 8 + $size);
$header =~ /"([^"]+\.ecf8)":\{"dtype":"U8","shape":\[(\d+)\],"data_offsets":\[(\d+),(\d+)\]\}/ or die "$path: no blob\n";
my ($name, $from, $to) = ($1, $3, $4);
my $half = int(($to - $from) / 2);
my $cut = $to - $from - $half;
substr($data, $from + $half, $cut) = '';
$header =~ s/"data_offsets":\[(\d+),(\d+)\]/sprintf '"data_offsets":[%d,%d]', map { $_ >= $to ? $_ - $cut : $_ } $1, $2/ge;
$header =~ s/(\Q$name\E":\{"dtype":"U8","shape":\[)\d+/$1$half/;
seek $file, 0, 0;
print $file pack('Q<', length $header), $header, $data;
truncate $file, tell $file;
close $file or die "$path: $!\n";
