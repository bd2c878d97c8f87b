#include "app/help.h"

#include <stddef.h>
#include <string.h>

static const char program_text[] =
    "ecdit draws pictures with diffusion transformers whose weights stay losslessly compressed in memory.\n"
    "\n"
    "  ecdit generate --class dog           draw a picture (without MODEL: the small emoji model)\n"
    "  ecdit compress SRC DST               make a compressed copy of a model folder\n"
    "  ecdit decompress SRC DST             and back, to the same bytes\n"
    "  ecdit verify A B                     do two model folders hold the same weights?\n"
    "  ecdit verify --pictures              does a model draw the same bytes, whatever holds its weights?\n"
    "  ecdit inspect PATH                   what is in a model, and how well it compresses\n"
    "  ecdit diff A.png B.png               how far apart are two pictures?\n"
    "  ecdit bench                          what compression costs and saves, both ways side by side\n"
    "\n"
    "ecdit COMMAND --help says more. ecdit --version prints the version.\n"
    "Exit status: 0 done, 1 usage, 2 bad data, 3 out of memory, disk or device, 4 interrupted.\n";

static const char generate_text[] =
    "ecdit generate [MODEL] --class NAME[,NAME..] | --prompt TEXT | --prompts FILE [options]: draw pictures\n"
    "\n"
    "  ecdit generate --class dog                         dog-0.png\n"
    "  ecdit generate --class dog,cat -n 4 --seed 7       eight files: dog-7.png to cat-10.png\n"
    "  ecdit generate --class dog -n 9 --grid -o dogs.png one sheet of nine\n"
    "  ecdit generate --replay dog-0.png                  the same picture again, from its own recipe\n"
    "  ecdit generate FLUX.1-schnell --prompt 'a red fox in the snow' --size 512x512\n"
    "  ecdit generate FLUX.1-schnell --prompts list.txt -o 'out/{index}-{seed}.png' --resume\n"
    "  mpirun ecdit generate ...                          processes on several machines share the pictures\n"
    "\n"
    "MODEL is a diffusers folder, plain or compressed, or the name of one in $ECDIT_MODELS. Default: emoji. Or a single\n"
    "file of FLUX.1 as other programs have it (flux1-dev-fp8.safetensors), beside --config.\n"
    "\n"
    "What to draw\n"
    "  --class LIST      classes by name, synonym or number, between commas (models of classes)\n"
    "  --prompt TEXT     what the picture shows, in words (models of texts: FLUX.1)\n"
    "  --prompts FILE    a prompt a line; or JSON: {\"prompt\": \"a fox\", \"seed\": 7, \"size\": \"512x768\", \"steps\": 4,\n"
    "                    \"guidance\": 2.5}, all but the prompt optional. A line that fails is told and the others are\n"
    "                    drawn; the exit status is the first failure's\n"
    "  -n COUNT          pictures of each class or prompt, with seeds N, N+1, ... (1)\n"
    "  --seed N          the first seed (0); a seed gives the picture that diffusers draws from it\n"
    "  --steps N         denoising steps (the model's default, or 50; FLUX.1-dev 28, -schnell 4)\n"
    "  --guidance G      classifier-free guidance, 1 is none (the model's default, or 4); FLUX.1-dev takes it as an\n"
    "                    input (3.5), FLUX.1-schnell takes none\n"
    "  --size WxH        pixels, where the model allows another size than its own (FLUX.1: multiples of 16, to two\n"
    "                    megapixels)\n"
    "  --max-sequence-length N  tokens of a prompt that T5 reads, to 512 (512; FLUX.1-schnell 256); what is cut is told\n"
    "  --sampler NAME    auto (the model's), ddim, dpmpp, euler or flow\n"
    "  --init IN.png     begin from this picture instead of noise; it is scaled to the size\n"
    "  --strength S      above 0, at most 1: how far from it to go; so much of the steps is taken (0.6)\n"
    "  --init-fit crop   cut its middle in the proportions of the size, rather than scale the whole\n"
    "  --replay IN.png   settings from a picture's recipe; options beside it override it\n"
    "  --config FOLDER   for MODEL a single file: the diffusers folder of its configs and tokenizers, and of components\n"
    "                    that the file lacks\n"
    "\n"
    "Where to\n"
    "  -o FILE           .png, .jpg, .bmp or .tga, or a folder (NAME-SEED.png, NAME being the class or the prompt in\n"
    "                    letters and digits); several pictures become FILE-NAME-SEED. In FILE {index} (from 01 on),\n"
    "                    {seed} and {name} are replaced (of --prompts: {index}-{name}-{seed}.png)\n"
    "  --resume          leave alone what is there, whole and with the same recipe (PNG)\n"
    "  --grid            one sheet of all pictures instead of a file each\n"
    "  --show            also show each picture in the terminal\n"
    "  --json            print one JSON object instead of file names (of several processes {\"ranks\": [..]})\n"
    "  --quiet           no progress\n"
    "\n"
    "How\n"
    "  --weights MODE    auto (as the files hold them), ecf8 (compressed in memory) or raw; never changes a picture\n"
    "  --backend NAME    auto, ref (plain C, slow, the same everywhere), cpu or cuda\n"
    "  --compute TYPE    auto, f32, bf16, or fp8: FP8 weights times activations in FP8, which changes the picture somewhat\n"
    "                    (backend cuda, a GPU of compute capability 8.9 or more)\n"
    "  --threads N       (all processors); never changes a picture\n"
    "  --vae-tile N      decode pictures larger than N pixels on a side by overlapping tiles of N, a multiple of 32 from\n"
    "                    64 on (0: none): less memory for very large pictures. Not exact: colours change somewhat, and\n"
    "                    seams may show with N below 256. For what --memory-budget, which is exact, refuses\n"
    "  --cache-text DIR  keep what text encoders gave, and do not open them where it is there\n"
    "  --memory-budget B all that the run may take, such as 800M or 2G (what the machine or its cgroup has free): as much\n"
    "                    as fits stays expanded, the rest is decoded at each use or read from disk; never changes a\n"
    "                    picture; too little is refused with the least that works. With cuda: of the device's memory,\n"
    "                    and the rest is sent from host memory\n";

static const char compress_text[] =
    "ecdit compress SRC DST [options]: make a compressed copy of a model folder\n"
    "\n"
    "  ecdit compress DiT-XL-2-256 DiT-XL-2-256-ecf8\n"
    "  ecdit compress DeepSeek-R1 DeepSeek-R1-ecf8 --threads 8\n"
    "  ecdit compress --quantize e4m3 DiT-XL-2-256 DiT-XL-2-256-e4m3\n"
    "  ecdit compress flux1-dev-fp8.safetensors FLUX.1-dev-ecf8 --config FLUX.1-dev\n"
    "\n"
    "SRC is any folder of safetensors files, of a diffusion or a language model, or one such file. Compression is\n"
    "lossless: ecdit decompress gives the same files back. DST must not exist; it appears whole or not at all.\n"
    "  --level LEVEL     fast, balanced (default) or best: smaller files decode more slowly\n"
    "  --format FORMAT   ecf8 (default), or ecf8-0.2.0: as the published ECF8 writes E4M3 weights, in larger files\n"
    "  --config FOLDER   SRC is a single file as other programs have FLUX.1: DST becomes a diffusers folder, with\n"
    "                    configs, tokenizers and whatever SRC lacks from FOLDER\n"
    "  --quantize e4m3   first round BF16, F16 and F32 matrices to FP8 with a scale a row: smaller, and not lossless\n"
    "  --threads N       (all processors); never changes a file\n"
    "  --json            print the figures as one JSON object\n"
    "  --quiet           no progress\n"
    "\n"
    "Interrupted, killed or out of disk, it leaves what is finished in DST.partial: the same command goes on there.\n"
    "Another command for the same DST, or a changed SRC, starts again. After bad data nothing is left.\n";

static const char decompress_text[] =
    "ecdit decompress SRC DST [options]: make a plain copy of a compressed model folder or file\n"
    "\n"
    "  ecdit decompress DiT-XL-2-256-ecf8 DiT-XL-2-256\n"
    "\n"
    "Each file is compared with the SHA-256 of the original, recorded when it was compressed. DST must not exist; it\n"
    "appears whole or not at all. Interrupted, it goes on from DST.partial, as ecdit compress does.\n"
    "  --threads N       (all processors)\n"
    "  --json            print the figures as one JSON object\n"
    "  --quiet           no progress\n";

static const char verify_text[] =
    "ecdit verify A B [options]: do two model folders, or files, hold the same?\n"
    "\n"
    "  ecdit verify DiT-XL-2-256 DiT-XL-2-256-ecf8\n"
    "\n"
    "Compares every tensor byte by byte, decoded where it is compressed, and every other file, and names what differs\n"
    "first. Of an original and its compressed form headers and metadata must agree too; of a single file and a folder\n"
    "the components that the file holds are compared, whatever it calls their tensors.\n"
    "  --threads N       (all processors)\n"
    "  --json            print the figures as one JSON object\n"
    "  --quiet           no progress\n"
    "Exit status 0: the same, 2: not.\n"
    "\n"
    "ecdit verify --pictures [MODEL] [options]: does it draw the same bytes, whatever holds its weights?\n"
    "\n"
    "Draws three pictures from compressed and from raw weights, by one thread and by all, alone and in a batch, under\n"
    "memory budgets from the smallest possible up, at every CPU level, and compares their SHA-256. (Levels may differ\n"
    "where a library computes BF16 or the CPU has no fused multiply-adds; then that is told.)\n"
    "  --steps N         denoising steps (2)\n"
    "  --size WxH        pixels, where the model allows another size than its own\n"
    "  --backend NAME, --compute TYPE, --threads N, --json as ecdit generate has them\n"
    "  --scratch DIR     for the model's other form (in the cache folder), which streams where memory is short\n";

static const char inspect_text[] =
    "ecdit inspect PATH [options]: what is in a model folder or file, and how well it compresses\n"
    "\n"
    "  ecdit inspect weights/emoji\n"
    "  ecdit inspect weights/emoji --plot exponents.png\n"
    "  ecdit inspect DiT-XL-2-256 --what-if e4m3\n"
    "\n"
    "A line a tensor: how it is stored, bits a weight, the entropy of its exponents H(E) and of its bytes, and a\n"
    "symmetric alpha-stable law fitted to its numbers: alpha with its standard error (2 is a normal law, less has\n"
    "heavier tails), scale, the entropy of the law's own exponents, and the ECF8 paper's bounds of H(E) for it.\n"
    "  --what-if e4m3    instead, what compress --quantize e4m3 would make of each tensor, without writing it\n"
    "  --what-if ecf8    the same of compress alone, which is lossless\n"
    "  --tokens TEXT     instead, the ids and pieces that each tokenizer in the folder makes of a text\n"
    "  --plot FILE       draw the exponents against the laws: .svg, or .png where cairo 2 is installed\n"
    "  --json            print one JSON object, with more figures\n"
    "\n"
    "Exit status 2 if a tensor cannot be decoded: its line says why, and the others are shown.\n";

static const char diff_text[] =
    "ecdit diff A.png B.png [-o OUT.png] [--json]: how far apart are two pictures?\n"
    "\n"
    "  ecdit diff dog-0.png other/dog-0.png -o difference.png\n"
    "\n"
    "Says how many pixels and values (red, green, blue) differ, by how much at most and on average, and the PSNR.\n"
    "  -o, --output FILE write the differences as a picture, amplified so that the largest shows\n"
    "  --json            print one JSON object\n"
    "\n"
    "Exit status 0: the same, 2: not, or not to be compared (a bad file, another size).\n";

static const char bench_text[] =
    "ecdit bench [MODEL | --synthetic NAME] [options]: what compression costs and saves\n"
    "\n"
    "  ecdit bench\n"
    "  ecdit bench DiT-XL-2-256-ecf8 --batch 1,4 --steps 10 --csv bench.csv\n"
    "  ecdit bench --synthetic dit-xl-2-256 --steps 4 --budgets 400M,700M,900M,2G\n"
    "\n"
    "Draws the same classes (or one prompt, encoded before) and seeds from compressed (ecf8) and uncompressed (raw)\n"
    "weights in turn, each time in a process of its own, and compares the pictures: they must be the same to the last\n"
    "byte.\n"
    "  --synthetic NAME  dit-xl-2-256, dit-xl-2-512, dit-b-2-256, dit-s-2-256, dit-narrow, dit-tiny, flux1-dev,\n"
    "                    flux1-mini, flux1-short (6 of its 57 blocks), flux1-tiny: the published names, shapes and form with random\n"
    "                    weights, rounded to FP8; made once (dit-xl: 5 GB of disk, flux1-dev: 32 GB, flux1-short: 5 GB)\n"
    "  --budgets LIST    memory budgets, such as 400M,1.5G; all is none. Both forms of the model are then on disk\n"
    "  --scratch DIR     where what is made is kept ($XDG_CACHE_HOME/ecdit or ~/.cache/ecdit)\n"
    "  --batch LIST      pictures drawn at once (1)\n"
    "  --steps N         denoising steps (the model's default, or 50)\n"
    "  --size WxH        pixels, where the model allows another size than its own\n"
    "  --runs N          measurements of each path (5); one more before them is not counted. 0: make folders only\n"
    "  --backend NAME    auto, ref, cpu or cuda\n"
    "  --compute TYPE    auto, f32, bf16 or fp8\n"
    "  --threads N       (all processors)\n"
    "  --json            print one JSON object instead of the table\n"
    "  --csv FILE        also write the figures as CSV\n"
    "  --plot FILE       also draw latency against budget and memory by part, as .svg or .png\n"
    "  --compare OLD     also say what is slower or larger than in an earlier --json report\n"
    "\n"
    "Exit status 2 if a picture differs between the paths.\n";

const char *ecd_help_of(const char *command)
{
    static const struct {
        const char *name, *text;
    } texts[] = {
        {"generate", generate_text}, {"compress", compress_text}, {"decompress", decompress_text},
        {"verify", verify_text},     {"inspect", inspect_text},   {"bench", bench_text},
        {"diff", diff_text},
    };
    if (!command)
        return program_text;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(texts[i].name, command))
            return texts[i].text;
    return NULL;
}
